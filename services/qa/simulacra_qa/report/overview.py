"""The sections of figures and words: the verdicts with what stands out, the table of columns, the method."""

import math

import numpy as np

from simulacra_qa.metrics.accuracy import Score
from simulacra_qa.report import charts
from simulacra_qa.report.markup import Markup, tag
from simulacra_qa.report.view import View, percent, span, wide
from simulacra_qa.verdict import Level

__all__ = ["columns", "method", "summary"]

_CARDS = (
    "overall",
    "univariate",
    "bivariate",
    "trivariate",
    "coherence",
    "similarity",
    "discriminator",
    "distances",
)
_LEVEL_WORDS = {Level.GOOD: "Good", Level.FAIR: "Fair", Level.POOR: "Look here", Level.NOTE: "Note"}


def summary(view: View) -> Markup:
    """The verdict cards and what stands out."""
    cards = [_card(name, view) for name in _CARDS]
    found = view.findings
    above = view.intent.headline(view.verdicts, found)
    sentence = tag("p", _badge(above.level), " ", above.text, cls=f"headline {above.level}")
    stands_out = tag(
        "div",
        tag("h3", "What stands out"),
        tag(
            "ul",
            [tag("li", _badge(item.level), " ", item.text, cls=item.level) for item in found],
            cls="findings",
        )
        if found
        else tag(
            "p",
            "Nothing: no column lost its missing values, its mean or its links"
            + ("." if view.intent.of_dataset else ", and no record was copied."),
        ),
        cls="panel",
    )
    return tag("div", sentence, tag("div", cards, cls="cards"), stands_out)


def _badge(level: Level) -> Markup:
    return tag("span", _LEVEL_WORDS[level], cls=f"badge {level}")


def _card(name: str, view: View) -> Markup | None:
    verdict = view.verdicts.get(name)
    if verdict is None:
        return None
    interval = (verdict.interval.low, verdict.interval.high) if verdict.interval else None
    target, shown = verdict.target or 0.0, percent(verdict.value)
    if name == "distances":
        low, high, unit = 0.0, 1.0, "closer to training than to holdout"
        beside = "expected 50 %" + (f" · 95 % interval {span(interval)}" if interval else "")
        interval = None
    elif name == "similarity":
        low, high, unit = _gauge_floor(verdict.value, target), 1.0, "cosine to training"
        beside = f"holdout {target:.4f}" if verdict.target is not None else "no holdout to compare with"
        shown = f"{verdict.value:.4f}"
    elif name == "discriminator":
        low, high, unit = 0.5, 1.0, "AUC against training"
        beside = f"holdout {target:.3f}, chance 0.5"
        shown = f"{verdict.value:.3f}"
    else:
        low, high, unit = _gauge_floor(verdict.value, target), 1.0, "accuracy"
        beside = f"ceiling {percent(target)}" + (f" ({span(interval)})" if interval else "")
    return tag(
        "article",
        tag("h3", verdict.title, _badge(verdict.level)),
        tag("p", tag("strong", shown), " ", tag("span", unit), cls="figure"),
        charts.gauge(verdict.value, target, interval, low=low, high=high),
        tag("p", beside, cls="beside"),
        tag("p", verdict.text),
        cls=f"card {verdict.level}",
    )


def _gauge_floor(value: float, target: float) -> float:
    return max(0.0, math.floor(10 * (min(value, target) - 0.1)) / 10)


def columns(view: View) -> Markup:
    """The table of all columns with their accuracy and missing shares."""
    marginals = view.evaluation.marginals
    pairs, triples = _by_column(marginals.bivariate), _by_column(marginals.trivariate)
    levels = ["Univariate", *(["Bivariate"] if pairs else []), *(["Trivariate"] if triples else [])]
    head = ("Column", "Kind", *levels, "Missing, training", "Missing, synthetic")
    rows = []
    for position, name in enumerate(view.evaluation.columns):
        profile = view.evaluation.profiles[position]
        rows.append(
            tag(
                "tr",
                tag("th", name, " ", view.intended(name), scope="row"),
                tag("td", view.kind(position).lower()),
                _accuracy_cell(marginals.univariate[position : position + 1]),
                [_accuracy_cell(each.get(position, [])) for each in (pairs, triples) if each],
                tag("td", percent(profile.missing[0]), cls="number"),
                tag("td", percent(profile.missing[2]), cls="number"),
                data_filter=name.lower(),
            )
        )
    table = tag(
        "table",
        tag(
            "caption",
            "Accuracy of each column: its own, and the mean of all pairs and triples that it is part of.",
        ),
        tag("thead", tag("tr", [tag("th", text, scope="col") for text in head])),
        tag("tbody", rows),
    )
    return wide(table, "Accuracy of each column", cls="panel scroll")


def _by_column(scores: list[Score]) -> dict[int, list[Score]]:
    result: dict[int, list[Score]] = {}
    for score in scores:
        for column in score.columns:
            result.setdefault(column, []).append(score)
    return result


def _accuracy_cell(scores: list[Score]) -> Markup:
    if not scores:
        return tag("td", "–", cls="number")
    value = float(np.mean([score.accuracy for score in scores]))
    ceiling = float(np.mean([score.ceiling for score in scores]))
    worst = "poor" if ceiling - value > 0.05 else "fair" if ceiling - value > 0.015 else None
    return tag(
        "td", percent(value), " ", tag("small", f"of {percent(ceiling)}"), cls=f"number {worst or ''}".strip()
    )


def method(view: View) -> Markup:
    """How the numbers were made."""
    training, holdout, synthetic = view.evaluation.rows
    width = len(view.evaluation.columns)
    if view.intent.of_dataset:
        compared = (
            f"Compared: {synthetic:,} synthetic rows of {width} columns with protected statistics of "
            f"{training:,} training rows; no original row is needed. Bins of few training rows are known "
            "together only, and are compared together. Privacy is judged in the report of the model."
        )
        distances = None
    else:
        compared = (
            f"Compared: {training:,} training, {holdout:,} holdout and {synthetic:,} synthetic rows of "
            f"{width} columns. Accuracy is measured against {view.reference_name}."
        )
        distances = (
            "For distances, numbers and points in time become ranks and categories become corners of a "
            "simplex, so that the largest difference in one column counts 1; the distance is Euclidean over "
            "all columns."
        )
    items = (
        compared,
        "Accuracy is 1 minus the total variation distance of discretised distributions: ten bins of equal "
        "mass for numbers and points in time, the ten most frequent categories else, with bins of their "
        "own for missing, empty and all other values. Overall accuracy is the mean of univariate and "
        "bivariate accuracy.",
        "The ceiling is the accuracy that a fresh sample of the original, as large as the synthetic data, "
        "is expected to reach. It follows exactly from all ways to divide the original into two samples, "
        "and is continued to the sizes at hand. Values well above it mean that the synthetic data repeat "
        "the noise of the training data.",
        distances,
    )
    return tag("ul", [tag("li", text) for text in items if text], cls="panel method")
