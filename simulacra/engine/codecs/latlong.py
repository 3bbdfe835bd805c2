"""Places as "latitude,longitude": cells of a k-d tree, coarse then fine, instead of thirty characters."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.base import Codec, FitOptions, ValueRange, validity
from simulacra.engine.codecs.protection import Protection
from simulacra.errors import UnsupportedData

__all__ = ["LatLongCodec", "is_lat_long"]

_COARSE, _FINE = 6, 4
_MAX_DIGITS = 7
_EMPTY = 0.3
_OPEN = Protection()
_PATTERN = r"^\s*-?\d{1,3}(\.\d+)?\s*,\s*-?\d{1,3}(\.\d+)?\s*$"


@dataclass(frozen=True)
class LatLongCodec(Codec):
    """Two sub-columns: the cell of 64, and the cell of 16 inside of it, each halved at smoothed medians.

    A cell that is mostly empty has a smaller box than the tree gives it, about where its places are, so that
    nobody lives in the sea between two towns and a shop stays where it is.

    Attributes:
        kind: The column's type, text.
        nullable: Whether null has a code.
        digits: Digits after the point.
        bounds: Lowest and highest latitude, lowest and highest longitude; protected. Empty: nothing may be
            known.
        splits: The tree's thresholds in breadth-first order; latitudes and longitudes in turn.
        boxes: Lowest and highest latitude and longitude of each leaf, in which its places are drawn.
        separator: What stands between the two numbers.
        padded: Whether all numbers have as many digits, trailing zeros included.
    """

    encoding: ClassVar[str] = "TABULAR_LAT_LONG"
    kind: pa.DataType
    nullable: bool
    digits: int
    bounds: tuple[float, ...]
    splits: tuple[float, ...]
    boxes: np.ndarray
    separator: str
    padded: bool

    @classmethod
    def fit(cls, column: pa.Array, options: FitOptions) -> Self:
        """Builds the tree; a cell of too few subjects is halved in the middle instead of at a median."""
        points, valid = _read(column, options.protection)
        rule, points = options.protection.take(valid), points[valid]
        present = column.drop_null()
        digits, padded = _digits(present, rule)
        style = (_separator(column), padded)
        if rule.hides_all(len(points)):
            return cls(column.type, True, digits, (), (), np.empty((0, 4)), *style)
        bounds: list[float] = []
        for axis in (0, 1):
            order = np.argsort(points[:, axis], kind="stable")
            bounds += [float(bound) for bound in rule.take(order).bounds(points[order, axis])]
        points = np.clip(points, bounds[::2], bounds[1::2])
        splits: list[float] = []
        cells = [(np.arange(len(points)), _fitted(points, rule, bounds))]
        for depth in range(_COARSE + _FINE):
            axis, following = depth % 2, []
            for rows, box in cells:
                split = _split(points[rows, axis], rule.take(rows), box[2 * axis], box[2 * axis + 1])
                splits.append(split)
                above = points[rows, axis] >= split
                lower, upper = list(box), list(box)
                lower[2 * axis + 1] = upper[2 * axis] = split
                following += [
                    (part, _fitted(points[part], rule.take(part), side))
                    for part, side in ((rows[~above], lower), (rows[above], upper))
                ]
            cells = following
        boxes = np.round([box for _, box in cells], digits + 1)
        tree = (tuple(bounds), tuple(splits), boxes)
        return cls(column.type, column.null_count > 0, digits, *tree, *style)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The coarse cells, the fine ones."""
        if not self.bounds:
            return (1,)
        return (2**_COARSE + int(self.nullable), 2**_FINE + int(self.nullable))

    def encode(self, column: pa.Array) -> np.ndarray:
        """Walks down the tree."""
        points, valid = _read(column)
        if not self.bounds:
            return np.zeros((len(points), 1), np.int32)
        splits = np.array(self.splits)
        node = np.zeros(len(points), np.int64)
        for depth in range(_COARSE + _FINE):
            above = points[:, depth % 2] >= splits[node]
            node = 2 * node + 1 + above
        leaf = node - (2 ** (_COARSE + _FINE) - 1)
        codes = np.stack([leaf >> _FINE, leaf & (2**_FINE - 1)], 1) + int(self.nullable)
        codes[~valid] = 0
        return codes.astype(np.int32)

    def decode(self, codes: np.ndarray, rng: np.random.Generator) -> pa.Array:
        """Draws a place in each cell."""
        if not self.bounds:
            return pa.nulls(len(codes), self.kind)
        parts = (codes.astype(np.int64) - int(self.nullable)).clip(min=0)
        boxes = self.boxes[(parts[:, 0] << _FINE) + parts[:, 1]]  # (rows, 4)
        drawn = boxes[:, ::2] + rng.random((len(codes), 2)) * (boxes[:, 1::2] - boxes[:, ::2])
        whole = np.rint(drawn * 10**self.digits).astype(np.int64)
        axes = [_texts(whole[:, axis], self.digits, self.padded) for axis in (0, 1)]
        texts = pc.binary_join_element_wise(*axes, self.separator).cast(self.kind)
        if not self.nullable:
            return texts
        return pc.if_else(pa.array(codes[:, 0] == 0), pa.scalar(None, self.kind), texts)

    def unknown(self, column: pa.Array) -> np.ndarray:
        """Says which places lie outside of the protected corners, rounded outwards."""
        points, valid = _read(column)
        if not self.bounds:
            return valid
        room = 10.0**-self.digits
        low, high = np.array(self.bounds[::2]) - room, np.array(self.bounds[1::2]) + room
        unknown: np.ndarray = valid & ~((points >= low) & (points <= high)).all(1)
        return unknown

    def value_range(self) -> ValueRange:
        """Returns the protected corners."""
        if not self.bounds:
            return ValueRange(has_null=self.nullable)
        low, high = (f"{self.bounds[i]:.{self.digits}f},{self.bounds[i + 2]:.{self.digits}f}" for i in (0, 1))
        return ValueRange(min=low, max=high, has_null=self.nullable)

    def to_json(self) -> dict[str, Any]:
        """Returns the tree."""
        return {
            "digits": self.digits,
            "bounds": list(self.bounds),
            "splits": list(self.splits),
            "boxes": self.boxes.tolist(),
            "separator": self.separator,
            "padded": self.padded,
        }

    @classmethod
    def from_json(cls, document: Document, kind: pa.DataType, nullable: bool) -> Self:
        """Reads a codec."""
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise document.fail("bounds", f"do not suit type {kind}")
        bounds = document.array("bounds", np.float64, (None,))
        splits = document.array("splits", np.float64, (None,))
        boxes = document.array("boxes", np.float64, (None, 4)).reshape(-1, 4)
        leaves = 2 ** (_COARSE + _FINE)
        if (len(bounds), len(splits), len(boxes)) not in ((0, 0, 0), (4, leaves - 1, leaves)):
            raise document.fail("splits", "are not those of a tree")
        if any(np.abs(part).max(initial=0) > 1e3 for part in (bounds, splits, boxes)):
            raise document.fail("splits", "are out of range")
        if (bounds[::2] > bounds[1::2]).any() or (boxes[:, ::2] > boxes[:, 1::2]).any():
            raise document.fail("bounds", "are not ascending")
        digits, nullable = document.integer("digits", 0, _MAX_DIGITS), nullable or not len(bounds)
        separator, padded = document.text("separator", (",", ", ")), document.flag("padded")
        tree = (tuple(bounds.tolist()), tuple(splits.tolist()), boxes)
        return cls(kind, nullable, digits, *tree, separator, padded)


def is_lat_long(column: pa.Array) -> bool:
    """Says whether all texts are "latitude,longitude" within their ranges."""
    present = column.drop_null()
    if not len(present) or not pc.all(pc.match_substring_regex(present[:50], _PATTERN)).as_py():
        return False
    if not pc.all(pc.match_substring_regex(present, _PATTERN)).as_py():
        return False
    points, _ = _read(present)
    return bool((np.abs(points) <= [90, 180]).all() and _digits(present, Protection())[0] > 0)


def _read(column: pa.Array, rule: Protection = _OPEN) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places as floats, `(rows, 2)`, 0 for null, and which are there."""
    valid = validity(column)
    texts = column.fill_null("0,0") if column.null_count else column
    matched = pc.match_substring_regex(texts, _PATTERN)
    if len(texts) and not pc.all(matched).as_py():
        wrong = texts.filter(pc.invert(matched))[0].as_py()
        raise UnsupportedData(
            f'the value {rule.quoted(wrong, texts)} is no "latitude,longitude", which the encoding needs; '
            "use AUTO or TABULAR_CATEGORICAL"
        )
    parts = pc.split_pattern(texts, ",")
    points = np.zeros((len(texts), 2))
    for axis in (0, 1):
        part = (
            pc.utf8_trim_whitespace(pc.list_element(parts, axis)) if len(texts) else pa.array([], pa.string())
        )
        points[:, axis] = part.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return points, valid


def _digits(present: pa.Array, rule: Protection) -> tuple[int, bool]:
    """Returns how many digits after the point enough subjects have, and whether all have as many."""
    first = present[:1000]
    parts = pc.split_pattern(first, ",").flatten()
    fractions = pc.extract_regex(parts, r"\.(?P<digits>\d+)")
    lengths = pc.utf8_length(pc.struct_field(fractions, "digits")).fill_null(0).to_numpy(zero_copy_only=False)
    most = lengths.reshape(-1, 2).max(1, initial=0)
    digits = next(
        digits
        for digits in range(_MAX_DIGITS + 1)
        if digits == _MAX_DIGITS or rule.shared_by_few(np.flatnonzero(most > digits))
    )
    return digits, rule.shared_by_few(np.flatnonzero(lengths.reshape(-1, 2).min(1, initial=digits) < digits))


def _separator(column: pa.Array) -> str:
    spaced = pc.mean(pc.match_substring(column, ", ").cast(pa.float64())).as_py()
    return ", " if spaced is not None and spaced > 0.5 else ","


def _fitted(points: np.ndarray, rule: Protection, box: list[float]) -> list[float]:
    """Returns a cell's box without its empty sides: what lies beyond the mean of the outermost k subjects."""
    if rule.people(len(points)) < 3 * max(rule.threshold, 2):
        return box
    fitted = list(box)
    for axis in (0, 1):
        low, high = box[2 * axis : 2 * axis + 2]
        order = np.argsort(points[:, axis], kind="stable")
        ends = rule.take(order).smooth(points[order, axis], np.array([0, len(order) - 1]))
        least = _EMPTY * (high - low)
        fitted[2 * axis] = float(ends[0]) if ends[0] - low > least else low
        fitted[2 * axis + 1] = float(ends[1]) if high - ends[1] > least else high
    return fitted


def _split(values: np.ndarray, rule: Protection, low: float, high: float) -> float:
    """Returns the smoothed median, or the middle of the cell when too few subjects are in it."""
    if rule.people(len(values)) < 2 * max(rule.threshold, 2):
        return (low + high) / 2
    order = np.argsort(values, kind="stable")
    ordered, rule, middle = values[order], rule.take(order), len(values) // 2
    if ordered[0] < ordered[-1]:  # the half that is one place must not be all there is above
        middle = max(middle, int(np.searchsorted(ordered, ordered[0], side="right")))
    return float(np.clip(rule.smooth(ordered, np.array([middle]))[0], low, high))


def _texts(scaled: np.ndarray, digits: int, padded: bool) -> pa.Array:
    """Returns whole numbers of 10^-digits as decimal texts."""
    if digits == 0:
        return pa.array(scaled).cast(pa.string())
    sign = pa.array(np.where(scaled < 0, "-", ""))
    whole, fraction = np.divmod(np.abs(scaled), 10**digits)
    fractions = pc.utf8_lpad(pa.array(fraction).cast(pa.string()), digits, "0")
    if not padded:
        fractions = pc.replace_substring_regex(fractions, r"^(\d+?)0+$", r"\1")
    return pc.binary_join_element_wise(sign, pa.array(whole).cast(pa.string()), ".", fractions, "")
