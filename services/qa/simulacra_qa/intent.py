"""What of a difference is intended, and how verdicts and findings take that into account."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from simulacra_qa.evaluation import Evaluation
from simulacra_qa.headline import consistent, headline
from simulacra_qa.metrics.columns import Kind
from simulacra_qa.verdict import Finding, Level, Verdict, findings, verdicts

__all__ = ["Intent"]

_FOLLOWS = "A part of the original was not asked for, so a difference may be intended; this is no judgement."


@dataclass(frozen=True, slots=True)
class Intent:
    """How a data report is to be read; the default is that of a plain comparison.

    Attributes:
        of_dataset: Whether generated data are compared with stored statistics of their model.
        kinds: What each column holds, where the evaluation itself has labels only.
        intended: Why each steered column is intended to differ.
        follows: Whether everything else may differ as a consequence.
        notes: What was asked for, in plain words.
    """

    of_dataset: bool = False
    kinds: tuple[Kind, ...] = ()
    intended: Mapping[str, str] = field(default_factory=dict)
    follows: bool = False
    notes: tuple[str, ...] = ()

    def verdicts(self, evaluation: Evaluation) -> dict[str, Verdict]:
        """Returns the verdicts; none judges what may differ by intention, or contradicts a finding."""
        found = consistent(verdicts(evaluation), self.findings(evaluation))
        if not self.follows:
            return found
        return {
            name: verdict
            if verdict.level is Level.GOOD
            else replace(verdict, level=Level.NOTE, text=_FOLLOWS)
            for name, verdict in found.items()
        }

    def findings(self, evaluation: Evaluation) -> list[Finding]:
        """Returns what stands out, and what was asked for."""
        asked = [Finding(Level.NOTE, "intended", text) for text in self._asked()]
        found = findings(evaluation)
        if self.follows:
            found = [finding for finding in found if finding.level is Level.NOTE]
        return [*found, *asked]

    def headline(self, verdicts: Mapping[str, Verdict], findings: Sequence[Finding]) -> Finding:
        """Returns the one sentence above all numbers."""
        return headline(verdicts, findings, of_dataset=self.of_dataset, of_a_part=self.follows)

    def document(self, document: dict[str, Any], evaluation: Evaluation) -> dict[str, Any]:
        """Returns the stored numbers with the headline, and with what is intended."""
        found = self.findings(evaluation)
        judged = self.verdicts(evaluation)
        above = self.headline(judged, found)
        return {
            "headline": {"level": above.level.value, "text": above.text},
            **document,
            "verdicts": {
                name: {"level": verdict.level.value, "text": verdict.text} for name, verdict in judged.items()
            },
            "findings": [
                {"level": item.level.value, "metric": item.metric, "text": item.text} for item in found
            ],
            "intended": dict(self.intended),
        }

    def _asked(self) -> list[str]:
        texts = [f"“{name}” is intended to differ: {reason}." for name, reason in self.intended.items()]
        if self.follows:
            texts.append(
                "Only a part of the original was asked for. Other columns follow from that, and are compared "
                "with the whole original."
            )
        elif any(reason != "imputed" for reason in self.intended.values()):
            texts.append(
                "Accuracy is measured with rows weighted so that these columns have their original "
                "distribution again: it says whether everything else is right."
            )
        return [*texts, *self.notes]
