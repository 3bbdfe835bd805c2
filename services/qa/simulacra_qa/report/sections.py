"""The sections of the report, in their order: a new one is a function in a module and a line here."""

from collections.abc import Callable
from dataclasses import dataclass

from simulacra_qa.report import distributions, overview, privacy, related, similarity
from simulacra_qa.report.markup import Markup
from simulacra_qa.report.view import View

__all__ = ["SECTIONS", "Section"]


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its anchor, its name in the menu, and its content, None if there is nothing to show."""

    anchor: str
    name: str
    render: Callable[[View], Markup | None]


SECTIONS = (
    Section("summary", "Summary", overview.summary),
    Section("columns", "Columns", overview.columns),
    Section("univariates", "Univariates", distributions.univariates),
    Section("correlations", "Correlations", distributions.correlations),
    Section("bivariates", "Bivariates", distributions.bivariates),
    Section("coherence", "Coherence", related.coherence),
    Section("relations", "Relations", related.relations),
    Section("utility", "Utility", related.utility),
    Section("accuracy", "Accuracy matrix", distributions.accuracy_matrix),
    Section("similarity", "Similarity", similarity.similarity),
    Section("distances", "Distances", privacy.distances),
    Section("membership", "Membership", privacy.membership),
    Section("attacks", "Attacks", privacy.attacks),
    Section("method", "Method", overview.method),
)
