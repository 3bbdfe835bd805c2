"""What several sections of the report need: the evaluation with its axes and verdicts, and common pieces."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulacra_qa.evaluation import Evaluation
from simulacra_qa.intent import Intent
from simulacra_qa.metrics.accuracy import Reference, Score
from simulacra_qa.metrics.bins import RARE_BELOW
from simulacra_qa.metrics.columns import Kind
from simulacra_qa.metrics.labels import Axis
from simulacra_qa.report.markup import Markup, tag
from simulacra_qa.shares import axes_of, joint_shares
from simulacra_qa.verdict import Finding, Verdict

__all__ = ["View", "gap_in_words", "legend", "percent", "span", "title", "wide"]


@dataclass(frozen=True, slots=True)
class View:
    """An evaluation with what several sections need of it."""

    evaluation: Evaluation
    axes: tuple[Axis, ...]
    verdicts: dict[str, Verdict]
    findings: tuple[Finding, ...]
    intent: Intent

    @classmethod
    def of(cls, evaluation: Evaluation, intent: Intent) -> "View":
        """Makes the view of an evaluation."""
        found = tuple(intent.findings(evaluation))
        return cls(evaluation, axes_of(evaluation), intent.verdicts(evaluation), found, intent)

    def kind(self, position: int) -> Kind:
        """Returns what a column holds."""
        return self.intent.kinds[position] if self.intent.kinds else self.evaluation.data.bins[position].kind

    def intended(self, *names: str) -> Markup | None:
        """Makes the badge of a column or pair that is intended to differ, with the reason."""
        reasons = dict.fromkeys(self.intent.intended[name] for name in names if name in self.intent.intended)
        return tag("span", f"intended: {', '.join(reasons)}", cls="badge note") if reasons else None

    @property
    def reference_name(self) -> str:
        """The reference in words."""
        training = self.evaluation.options.reference is Reference.TRAINING
        return "the training data" if training else "training and holdout data"

    def shares(self, group: tuple[int, ...]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Returns a column's or pair's shares to draw, training (0 for a cell of few rows) and synthetic."""
        return joint_shares(self.evaluation, self.axes, group)


def percent(share: float, decimals: int = 1) -> str:
    """Writes a share."""
    return f"{100 * share:.{decimals}f} %"


def span(interval: tuple[float, float]) -> str:
    """Writes an interval of shares."""
    return f"{100 * interval[0]:.1f} – {percent(interval[1])}"


def title(name: str, score: Score, badge: Markup | None = None) -> Markup:
    """Makes a card's title: what it shows, its accuracy and ceiling."""
    figures = tag("span", percent(score.accuracy), tag("small", f" of {percent(score.ceiling)}"), cls="score")
    return tag("h3", tag("span", name, " ", badge), figures)


def legend() -> Markup:
    """Makes the legend of the two colours."""
    return tag(
        "p",
        tag("span", cls="swatch training"),
        " training ",
        tag("span", cls="swatch synthetic"),
        " synthetic. Beside each accuracy is its ceiling, what a fresh sample of the original would reach. "
        f"Rare values (fewer than {RARE_BELOW} rows) and extremes are never shown.",
        cls="legend",
    )


def wide(table: Markup, name: str, *, cls: str = "scroll") -> Markup:
    """Makes a table that may be wider than the screen one that can be scrolled, by the keyboard too."""
    return tag("div", table, cls=cls, tabindex=0, role="region", aria_label=name)


def gap_in_words(
    labels: tuple[str, ...], training: npt.NDArray[np.float64], synthetic: npt.NDArray[np.float64]
) -> str:
    """Says where the two distributions differ most."""
    difference = synthetic - training
    if not difference.size:
        return ""
    worst = int(np.abs(difference).argmax())
    if abs(difference[worst]) < 0.001:
        return "No visible difference."
    return (
        f"Largest difference: {labels[worst]}, {percent(float(training[worst]))} in training, "
        f"{percent(float(synthetic[worst]))} in synthetic data."
    )
