"""Draws the charts as small SVGs. Colours are classes: one drawing serves dark, light and printed pages."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.columns import Kind
from simulacra_qa.metrics.labels import Axis, format_number, format_time
from simulacra_qa.metrics.profile import Density
from simulacra_qa.report.markup import Markup, tag

__all__ = ["axis_labels", "bars", "cumulative", "density", "gauge", "heat", "matrix", "pair_maps"]

CELL = 13
LABELS_LEFT = 92
LEVELS = 8
_GAP = 14
_NARROWEST = 100
_LONGEST = 18
_LONGEST_BELOW = 14
_LONGEST_BAR = 20

Floats = npt.NDArray[np.float64]


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Cuts a label in its middle."""
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def gauge(
    value: float, target: float, interval: tuple[float, float] | None, *, low: float, high: float
) -> Markup:
    """Draws a bar from `low` to `high` with a mark at the target and a band for its interval."""

    def x(share: float) -> float:
        return round(200 * min(max((share - low) / (high - low), 0), 1), 1)

    band = interval and tag(
        "rect", x=x(interval[0]), y=2, width=max(x(interval[1]) - x(interval[0]), 1), height=14, cls="band"
    )
    return tag(
        "svg",
        tag("rect", x=0, y=5, width=200, height=8, rx=2, ry=4, cls="track"),
        tag("rect", x=0, y=5, width=x(value), height=8, rx=2, ry=4, cls="fill"),
        band,
        tag("line", x1=x(target), x2=x(target), y1=0, y2=18, cls="mark", vector_effect="non-scaling-stroke"),
        viewBox="0 0 200 18",
        preserveAspectRatio="none",
        cls="gauge",
        aria_hidden="true",
    )


def density(curves: Density, kind: Kind, *, title: str) -> Markup:
    """Draws the density of a column: an area for the training, a line for the synthetic data."""
    width, height, bottom = 320.0, 104.0, 18.0
    xs = np.linspace(0, width, len(curves.training))

    def points(curve: Floats) -> str:
        return " ".join(f"{x:.0f},{height - 96 * y:.1f}" for x, y in zip(xs, curve, strict=True))

    ticks = []
    for value, text in _ticks(curves.low, curves.high, kind):
        x = round(width * (value - curves.low) / (curves.high - curves.low), 1)
        anchor = "start" if x < 16 else "end" if x > width - 16 else "middle"
        ticks.append(tag("line", x1=x, x2=x, y1=height, y2=height + 4, cls="axis"))
        ticks.append(tag("text", text, x=x, y=height + 14, text_anchor=anchor))
    return tag(
        "svg",
        tag(
            "polygon", points=f"0,{height:.0f} {points(curves.training)} {width:.0f},{height:.0f}", cls="area"
        ),
        tag("polyline", points=points(curves.synthetic), cls="curve"),
        tag("line", x1=0, x2=width, y1=height, y2=height, cls="axis"),
        ticks,
        viewBox=f"0 0 {width:.0f} {height + bottom:.0f}",
        cls="curves",
        role="img",
        aria_label=title,
    )


def _ticks(low: float, high: float, kind: Kind) -> list[tuple[float, str]]:
    if kind is Kind.DATETIME:
        values: Floats = np.linspace(low, high, 6)[1:-1].astype(np.float64)
        days = (high - low) / 86_400e6
        form = "%Y" if days > 2500 else "%b %Y" if days > 120 else "%d %b" if days > 4 else "%d %b %H:%M"
        texts = [format_time(float(value), form) for value in values]
        return [
            (float(v), t) for i, (v, t) in enumerate(zip(values, texts, strict=True)) if t not in texts[:i]
        ]
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 5)
    first = math.ceil(low / step)
    steps = range(first, math.floor(high / step) + 1)
    return [(i * step, format_number(i * step, 4)) for i in steps]


def bars(axis: Axis, training: Floats, synthetic: Floats, *, title: str) -> Markup:
    """Draws two bars per label: training above synthetic, with both shares in figures."""
    row, left, width, figures = 18, 116, 334, 92
    top = max(float(training.max(initial=0)), float(synthetic.max(initial=0))) or 1.0
    parts: list[Markup] = []
    for i, label in enumerate(axis.labels):
        y = i * row
        lengths = [
            round((width - left - figures) * float(share) / top, 1) for share in (training[i], synthetic[i])
        ]
        text = f"{label}: training {training[i]:.1%}, synthetic {synthetic[i]:.1%}"
        parts.append(
            tag(
                "g",
                tag("title", text),
                tag("rect", x=0, y=y, width=width, height=row, cls="hit"),
                tag("text", shortened(label, _LONGEST_BAR), x=left - 6, y=y + 13, text_anchor="end"),
                tag("rect", x=left, y=y + 3, width=max(lengths[0], 0.5), height=5, cls="t"),
                tag("rect", x=left, y=y + 9, width=max(lengths[1], 0.5), height=5, cls="s"),
                tag(
                    "text",
                    f"{100 * training[i]:.1f} → {100 * synthetic[i]:.1f} %",
                    x=left + max(lengths) + 5,
                    y=y + 13,
                    cls="figure",
                ),
            )
        )
    return tag(
        "svg",
        parts,
        viewBox=f"0 0 {width} {row * len(axis.labels) + 2}",
        cls="bars",
        role="img",
        aria_label=title,
    )


def heat(levels: npt.NDArray[np.int64], prefix: str) -> list[Markup]:
    """Draws a matrix of levels (0 is blank, negative ones get another class) as one path per level."""
    paths: dict[int, list[str]] = {}
    for y, row in enumerate(levels):
        starts = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))
        for start, end in zip(starts, [*starts[1:], len(row)], strict=True):
            if level := int(row[start]):
                paths.setdefault(level, []).append(f"M{start} {y}h{end - start}")
    return [
        tag("path", d="".join(runs), cls=f"{prefix}{level}" if level > 0 else f"{prefix}m{-level}")
        for level, runs in sorted(paths.items())
    ]


def _cell_width(labels: int) -> float:
    """Returns how wide a map's cells are: as high, or wider where the map would be too narrow to read."""
    return max(CELL, round(_NARROWEST / max(labels, 1), 1))


def axis_labels(position: int, axis: Axis) -> Markup:
    """Makes a column's labels for the left and the lower side of its pairs' maps, to be used many times."""
    middle, wide = CELL / 2 + 3, _cell_width(len(axis.labels))
    left = [tag("text", shortened(label), y=i * CELL + middle) for i, label in enumerate(axis.labels)]
    below = [
        tag(
            "text",
            shortened(label, _LONGEST_BELOW),
            transform=f"rotate(-90)translate(0,{(i + 0.5) * wide + 3:.1f})",
        )
        for i, label in enumerate(axis.labels)
    ]
    return Markup(
        tag("g", left, id=f"y{position}", text_anchor="end")
        + tag("g", below, id=f"x{position}", text_anchor="end")
    )


def pair_maps(
    columns: tuple[int, int], below: Axis, training: Floats, synthetic: Floats, *, title: str
) -> Markup:
    """Draws the joint shares of two columns in training and synthetic data, and their difference."""
    rows, width = training.shape
    top = max(float(training.max()), float(synthetic.max())) or 1.0
    difference = synthetic - training
    reach = max(float(np.abs(difference).max()), 0.005)
    panels = (
        ("training", heat(np.ceil(LEVELS * np.sqrt(training / top)).astype(np.int64), "t")),
        ("synthetic", heat(np.ceil(LEVELS * np.sqrt(synthetic / top)).astype(np.int64), "s")),
        ("difference", heat(np.rint(4 * difference / reach).astype(np.int64), "d")),
    )
    cell = _cell_width(width)
    across, down = cell * width, CELL * rows
    drawn = []
    for i, (caption, paths) in enumerate(panels):
        drawn.append(
            tag(
                "g",
                tag("text", caption, x=across / 2, y=-5, text_anchor="middle", cls="caption"),
                tag("rect", width=across, height=down, cls="frame"),
                tag("g", paths, transform=f"scale({cell},{CELL})translate(0,.5)"),
                tag("use", href=f"#x{columns[1]}", transform=f"translate(0,{down + 5})"),
                transform=f"translate({LABELS_LEFT + i * (across + _GAP):.1f},16)",
                data_panel=i,
            )
        )
    longest = max(len(shortened(label, _LONGEST_BELOW)) for label in below.labels)
    total = round(LABELS_LEFT + 3 * (across + _GAP), 1)
    values = ",".join(str(round(10_000 * float(v))) for v in np.stack([training, synthetic]).ravel())
    return tag(
        "svg",
        tag("use", href=f"#y{columns[0]}", transform=f"translate({LABELS_LEFT - 5},16)"),
        drawn,
        viewBox=f"0 0 {total} {down + 5.3 * longest + 30:.0f}",
        cls="pair",
        role="img",
        aria_label=title,
        data_rows=columns[0],
        data_columns=columns[1],
        data_values=values,
        style=f"max-width:{1.15 * total:.0f}px",
    )


def matrix(
    levels: npt.NDArray[np.int64],
    values: Floats,
    names: Sequence[str],
    prefix: str,
    *,
    title: str,
    caption: str,
) -> Markup:
    """Draws a square matrix over columns, named at the left and below."""
    size = len(names)
    cell = 16 if size <= 40 else 8
    left = 118 if size <= 100 else 6
    labels = []
    if size <= 100:
        for i, name in enumerate(names):
            middle = i * cell + cell / 2 + 3
            short = shortened(name, 20)
            labels.append(tag("text", short, x=-5, y=middle, text_anchor="end"))
            labels.append(
                tag(
                    "text",
                    short,
                    transform=f"translate({middle},{size * cell + 5})rotate(-90)",
                    text_anchor="end",
                )
            )
    packed = ",".join(f"{100 * value:.1f}" for value in values.ravel())
    return tag(
        "figure",
        tag("figcaption", caption),
        tag(
            "svg",
            tag(
                "g",
                tag("rect", width=size * cell, height=size * cell, cls="frame"),
                tag("g", heat(levels, prefix), transform=f"scale({cell})translate(0,.5)"),
                labels,
                transform=f"translate({left},2)",
                data_panel=0,
            ),
            viewBox=f"0 0 {left + size * cell + 2} {size * cell + left + 2}",
            cls="matrix",
            role="img",
            aria_label=title,
            data_values=packed,
            style=f"max-width:{1.3 * (left + size * cell):.0f}px",
        ),
    )


def cumulative(training: Floats, holdout: Floats, *, title: str) -> Markup:
    """Draws two distributions of distances from quantiles: the share of records (up) within a distance."""
    width, height = 520.0, 200.0
    furthest = max(float(training[-2]), float(holdout[-2])) or 1.0
    shares = np.linspace(0, 1, len(training))

    def points(quantiles: Floats) -> str:
        xs = np.minimum(width * quantiles / furthest, width)
        return " ".join(f"{x:.1f},{height - height * share:.1f}" for x, share in zip(xs, shares, strict=True))

    ticks = []
    for value, text in _ticks(0.0, furthest, Kind.NUMERIC):
        x = round(width * value / furthest, 1)
        ticks.append(tag("line", x1=x, x2=x, y1=0, y2=height, cls="grid"))
        ticks.append(tag("text", text, x=x, y=height + 15, text_anchor="middle"))
    for share in (0.25, 0.5, 0.75, 1.0):
        y = height - height * share
        ticks.append(tag("line", x1=0, x2=width, y1=y, y2=y, cls="grid"))
        ticks.append(tag("text", f"{share:.0%}", x=-6, y=y + 3, text_anchor="end"))
    return tag(
        "svg",
        tag("g", ticks, transform="translate(44,8)"),
        tag("g", tag("polyline", points=points(holdout), cls="curve holdout"), transform="translate(44,8)"),
        tag("g", tag("polyline", points=points(training), cls="curve"), transform="translate(44,8)"),
        viewBox=f"0 0 {width + 60:.0f} {height + 32:.0f}",
        cls="curves",
        role="img",
        aria_label=title,
        style="max-width:640px",
    )
