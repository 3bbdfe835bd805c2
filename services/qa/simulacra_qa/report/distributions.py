"""The sections of charts: single columns, associations, pairs of columns, and the matrix of all pairs."""

import numpy as np

from simulacra_qa.metrics.accuracy import Score
from simulacra_qa.metrics.association import by_similarity
from simulacra_qa.report import charts
from simulacra_qa.report.markup import Markup, embed_json, tag
from simulacra_qa.report.view import View, gap_in_words, legend, title

__all__ = ["accuracy_matrix", "bivariates", "correlations", "univariates"]

_MOST_PAIRS = 60
_OPEN_PAIRS = 12
_MOST_COLUMNS = 300


def univariates(view: View) -> Markup:
    """One card per column: density and shares by bin."""
    evaluation = view.evaluation
    scores = evaluation.marginals.univariate
    cards = []
    for position in sorted(range(len(scores)), key=lambda i: scores[i].accuracy)[:_MOST_COLUMNS]:
        name, score, profile = evaluation.columns[position], scores[position], evaluation.profiles[position]
        training, synthetic = view.shares((position,))
        kind = view.kind(position)
        means = gap_in_words(view.axes[position].labels, training, synthetic)
        caption = f"Density of {name}. {means}"
        curves = charts.density(profile.density, kind, title=caption) if profile.density else None
        cards.append(
            tag(
                "article",
                title(name, score, view.intended(name)),
                curves,
                charts.bars(
                    view.axes[position], training, synthetic, title=f"Shares of {name} by bin. {means}"
                ),
                tag("p", means, cls="gap"),
                cls="card chart",
                data_filter=name.lower(),
            )
        )
    return tag("div", legend(), tag("div", cards, cls="grid"))


def correlations(view: View) -> Markup | None:
    """The associations of all pairs in training and synthetic data, and their difference."""
    evaluation = view.evaluation
    if len(evaluation.columns) < 2:
        return None
    order = by_similarity(evaluation.association_training)[:_MOST_COLUMNS]
    names = [evaluation.columns[i] for i in order]
    training = evaluation.association_training[np.ix_(order, order)]
    synthetic = evaluation.association_synthetic[np.ix_(order, order)]
    difference = synthetic - training
    shades = charts.LEVELS
    figures = [
        charts.matrix(
            levels,
            values,
            names,
            prefix,
            title=f"Association of all pairs of columns, {caption}",
            caption=caption,
        )
        for levels, values, prefix, caption in (
            (np.ceil(shades * training - 0.25).astype(np.int64), training, "t", "training"),
            (np.ceil(shades * synthetic - 0.25).astype(np.int64), synthetic, "s", "synthetic"),
            (np.rint(12 * difference).clip(-4, 4).astype(np.int64), difference, "d", "difference"),
        )
    ]
    text = tag(
        "p",
        "Cramér's V of the binned columns, corrected for chance: 0 is independent, 1 is determined. "
        "Associated columns stand side by side. In the difference, ",
        tag("span", cls="swatch synthetic"),
        " is stronger and ",
        tag("span", cls="swatch weaker"),
        " is weaker in the synthetic data.",
        cls="legend",
    )
    return tag("div", text, tag("div", figures, cls="triptych"), embed_json("data-names", names))


def bivariates(view: View) -> Markup | None:
    """The pairs that are furthest below their ceiling, as maps of joint shares."""
    scores = view.evaluation.marginals.bivariate
    if not scores:
        return None
    ranked = sorted(scores, key=lambda score: score.accuracy - score.ceiling)[:_MOST_PAIRS]
    used = sorted({column for score in ranked for column in score.columns})
    cards = [_pair_card(view, score) for score in ranked]
    intro = (
        f"The {len(ranked)} of {len(scores):,} pairs that are furthest below their ceiling, the worst first. "
        "The stronger the colour, the more rows; in the difference, "
    )
    return tag(
        "div",
        tag(
            "p",
            intro,
            tag("span", cls="swatch synthetic"),
            " is too frequent and ",
            tag("span", cls="swatch weaker"),
            " too rare in the synthetic data.",
            cls="legend",
        ),
        tag(
            "svg",
            tag("defs", [charts.axis_labels(i, view.axes[i]) for i in used]),
            cls="defs",
            aria_hidden="true",
        ),
        tag("div", cards[:_OPEN_PAIRS], cls="grid wide"),
        _folded(cards[_OPEN_PAIRS:]),
        embed_json("data-axes", {i: [view.evaluation.columns[i], *view.axes[i].labels] for i in used}),
    )


def _folded(cards: list[Markup]) -> Markup | None:
    if not cards:
        return None
    return tag("details", tag("summary", f"Show {len(cards)} more pairs"), tag("div", cards, cls="grid wide"))


def _pair_card(view: View, score: Score) -> Markup:
    first, second = score.columns
    names = view.evaluation.columns[first], view.evaluation.columns[second]
    training, synthetic = view.shares((first, second))
    labels = tuple(
        f"{names[0]} {left} with {names[1]} {right}"
        for left in view.axes[first].labels
        for right in view.axes[second].labels
    )
    gap = gap_in_words(labels, training.ravel(), synthetic.ravel())
    return tag(
        "article",
        title(f"{names[0]} × {names[1]}", score, view.intended(*names)),
        charts.pair_maps(
            (first, second),
            view.axes[second],
            training,
            synthetic,
            title=f"Joint shares of {names[0]} and {names[1]}. {gap}",
        ),
        tag("p", gap, cls="gap"),
        cls="card chart",
        data_filter=f"{names[0]} {names[1]}".lower(),
    )


def accuracy_matrix(view: View) -> Markup | None:
    """How far every pair is below its ceiling."""
    evaluation = view.evaluation
    width = len(evaluation.columns)
    if width < 2:
        return None
    below, values = np.zeros((width, width)), np.zeros((width, width))
    for score in (*evaluation.marginals.univariate, *evaluation.marginals.bivariate):
        i, j = score.columns[0], score.columns[-1]
        below[i, j] = below[j, i] = score.ceiling - score.accuracy
        values[i, j] = values[j, i] = score.accuracy
    levels = np.digitize(below, [0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2]).astype(np.int64)
    figure = charts.matrix(
        levels,
        values,
        evaluation.columns,
        "e",
        title="Distance of every pair's accuracy from its ceiling",
        caption="Blank: at most 0.25 points below the ceiling. Strongest colour: 20 points or more.",
    )
    text = "All pairs, and single columns on the diagonal, by how far their accuracy is below its ceiling."
    return tag(
        "div", tag("p", text, cls="legend"), figure, embed_json("data-columns", list(evaluation.columns))
    )
