"""The sections on what goes beyond single rows: sequences, other tables, and models that learn from them."""

from collections.abc import Iterable, Sequence

import numpy as np

from simulacra_qa.metrics.accuracy import Score
from simulacra_qa.report.markup import Child, Markup, tag
from simulacra_qa.report.view import View, percent, wide

__all__ = ["coherence", "relations", "utility"]


def coherence(view: View) -> Markup | None:
    """How sequences unfold, by column."""
    found = view.evaluation.coherence
    if found is None:
        return None
    parts = (found.transitions, found.values_per_sequence, found.sequences_per_value)
    rows = [
        (view.evaluation.columns[i], *(_accuracy(part[i : i + 1]) for part in parts))
        for i in range(len(found.values_per_sequence))
    ]
    text = (
        f"Coherence is {percent(found.accuracy)}, where a fresh sample of sequences would reach "
        f"{percent(found.ceiling)}: the mean of three distributions' accuracy, of a value and the next one, "
        "of how many different values a sequence has, and of how many sequences have a value. The lengths of "
        f"sequences agree to {percent(found.lengths.accuracy)} of {percent(found.lengths.ceiling)}."
    )
    head = ("Column", "Next value", "Values per sequence", "Sequences per value")
    return tag("div", tag("p", text), _table(head, rows), cls="panel")


def relations(view: View) -> Markup | None:
    """How foreign keys are kept."""
    found = view.evaluation.relations
    if not found:
        return None
    rows = [
        (
            f"{scores.relation.child}.{scores.relation.foreign_key} → {scores.relation.parent}",
            percent(scores.referential_integrity),
            percent(scores.key_uniqueness),
            _accuracy([scores.child_counts]),
            _accuracy(list(scores.bivariates.values())),
            _accuracy([scores.null_patterns]),
        )
        for scores in found
    ]
    head = (
        "Reference",
        "Finds its parent",
        "Keys unique",
        "Children per parent",
        "Pairs across",
        "Missing together",
    )
    text = (
        "Every reference should find its parent and every key be unique. The others are accuracies, each "
        "beside what a fresh sample of parents with their children would reach."
    )
    return tag("div", tag("p", text), _table(head, rows), cls="panel")


def utility(view: View) -> Markup | None:
    """What a model learns from the synthetic data."""
    found = view.evaluation.utility
    if found is None:
        return None
    text = (
        f"Models that predict “{view.evaluation.columns[found.target]}” from all other columns are tried on "
        f"holdout records. One that learnt from synthetic records reaches {found.measure} "
        f"{found.synthetic:.3f}, one that learnt from as many training records {found.training:.3f}; the "
        f"difference lies between {found.difference.low:+.3f} and {found.difference.high:+.3f} "
        "(95 % interval)."
    )
    return tag("p", text, cls="panel")


def _accuracy(scores: Sequence[Score]) -> Child:
    if not scores:
        return "–"
    value, ceiling = (float(np.mean([getattr(s, name) for s in scores])) for name in ("accuracy", "ceiling"))
    return [percent(value), " ", tag("small", f"of {percent(ceiling)}")]


def _table(head: Sequence[str], rows: Iterable[Sequence[Child]]) -> Markup:
    table = tag(
        "table",
        tag("thead", tag("tr", [tag("th", text, scope="col") for text in head])),
        tag(
            "tbody",
            [
                tag("tr", tag("th", name, scope="row"), [tag("td", cell, cls="number") for cell in cells])
                for name, *cells in rows
            ],
        ),
    )
    return wide(table, f"{head[0]}: {', '.join(head[1:])}")
