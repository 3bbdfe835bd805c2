"""What a person may read of a column's bins: merged and rounded so that no rare value or extreme is named.

- A category, or a number of a column with few distinct ones, is named if at least `RARE_BELOW` original rows
  hold it;
  the others share the label "(other)".
- An interval's bounds are rounded to the fewest digits that keep them apart. The outermost intervals are open
  ended and
  hold at least `EXTREMES` original rows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.accuracy import Counts
from simulacra_qa.metrics.bins import EXTREMES, MISSING, OTHER, RARE_BELOW, Bins
from simulacra_qa.metrics.columns import Kind

__all__ = ["Axis", "axis", "format_number", "format_time", "readable"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_FORMATS = ("%Y", "%b %Y", "%d %b %Y", "%d %b %Y %H:%M", "%d %b %Y %H:%M:%S", "%d %b %Y %H:%M:%S.%f")
_MOST_DIGITS = 17
_LONGEST_LABEL, _END = 100, 30


@dataclass(frozen=True, slots=True)
class Axis:
    """The labels of a column's shown bins; `place` maps each bin to its label, -1 if no row is in it."""

    labels: tuple[str, ...]
    place: npt.NDArray[np.int64]

    def shown(self, counts: Counts) -> Counts:
        """Adds up counts (..., bins) by label: (..., labels)."""
        result = np.zeros((*counts.shape[:-1], len(self.labels)), np.int64)
        for code, label in enumerate(self.place):
            if label >= 0:
                result[..., label] += counts[..., code]
        return result


def axis(bins: Bins, counts: Counts) -> Axis:
    """Makes the axis of a column from its counts (3 parts, bins)."""
    original, anywhere = counts[0] + counts[1], counts.sum(axis=0) > 0
    if bins.kind is Kind.CATEGORICAL:
        return _merged(list(bins.categories), anywhere)
    if bins.exact:
        # Without any original value there is no edge, but a bin for what the synthetic data hold.
        named = zip(_texts(bins, bins.edges), original[1:], strict=False)
        names = [text if rows >= RARE_BELOW else OTHER for text, rows in named]
        return _merged([MISSING, *(names or [OTHER])], anywhere)
    return _intervals(bins, original, anywhere)


def readable(axis: Axis) -> Axis:
    """Returns the axis with long labels cut in their middle, and numbered where that makes them equal."""
    cut: dict[str, None] = {}
    for number, label in enumerate(axis.labels, start=1):
        short = label
        if len(label) > _LONGEST_LABEL:
            short = f"{label[: _LONGEST_LABEL - _END]} … {label[-_END:]}"
        cut[short if short not in cut else f"{short} (#{number})"] = None
    return Axis(tuple(cut), axis.place)


def _merged(names: Sequence[str], anywhere: npt.NDArray[np.bool_]) -> Axis:
    labels = list(dict.fromkeys(name for name, used in zip(names, anywhere, strict=True) if used))
    # What is no value of its own comes last.
    labels.sort(key=lambda label: (label == MISSING, label == OTHER))
    place = [labels.index(name) if used else -1 for name, used in zip(names, anywhere, strict=True)]
    return Axis(tuple(labels), np.array(place))


def _intervals(bins: Bins, original: Counts, anywhere: npt.NDArray[np.bool_]) -> Axis:
    rows, count = original[1:], len(bins.edges)
    first = min(int(np.searchsorted(np.cumsum(rows), EXTREMES)) + 1, count - 1)
    last = max(count - 1 - int(np.searchsorted(np.cumsum(rows[::-1]), EXTREMES)), first)
    cuts = list(bins.edges[first : last + 1])  # between the shown bins
    labels = _interval_texts(bins, cuts)
    groups = np.searchsorted(np.array(cuts), np.array(bins.edges), side="right")
    names = [labels[group] for group in groups]
    return _merged([MISSING, *names], np.concatenate([anywhere[:1], np.ones(count, np.bool_)]))


def _interval_texts(bins: Bins, cuts: Sequence[float]) -> list[str]:
    texts = _texts(bins, cuts)
    labels = [f"< {texts[0]}"]
    for low, high, low_text, high_text in zip(cuts, cuts[1:], texts, texts[1:], strict=False):
        if bins.integral and low_text == str(int(low)) and high_text == str(int(high)):
            labels.append(low_text if high - low == 1 else f"{low_text} – {int(high) - 1}")
        else:
            labels.append(f"{low_text} – {high_text}")
    return [*labels, f"≥ {texts[-1]}"]


def _texts(bins: Bins, values: Sequence[float]) -> list[str]:
    styles: list[Callable[[float], str]]
    if bins.kind is Kind.DATETIME:
        styles = [lambda value, f=form: format_time(value, f) for form in _TIME_FORMATS]  # type: ignore[misc]
    else:
        styles = [lambda value, d=digits: format_number(value, d) for digits in range(2, _MOST_DIGITS)]  # type: ignore[misc]
        if bins.integral and all(abs(value) < 10_000 for value in values):
            styles = [lambda value: str(int(value))]
    for style in styles:
        texts = [style(value) for value in values]
        if len(set(texts)) == len(texts):
            return texts
    return [f"#{i + 1}" for i in range(len(values))]


def format_number(value: float, digits: int = 3) -> str:
    """Writes a number with so many significant digits, as people do: 12,300 and 1.2M."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    rounded = float(f"{value:.{digits}g}")
    size = abs(rounded)
    for unit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if unit <= size < 1e15:
            return f"{rounded / unit:.{digits}g}{letter}"
    if size >= 1e15 or size < 1e-4:
        return f"{rounded:.{digits}g}"
    if size >= 10_000:
        return f"{rounded:,.0f}"
    decimals = max(digits - 1 - math.floor(math.log10(size)), 0)
    text = f"{rounded:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_time(microseconds: float, form: str) -> str:
    """Writes a point in time, given in microseconds since 1970."""
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).strftime(form)
    except OverflowError:
        return format_number(microseconds / 31_556_952e6 + 1970, 5)
