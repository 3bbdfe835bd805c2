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
_PATTERN = r"^\s*-?\d{1,3}(\.\d+)?\s*,\s*-?\d{1,3}(\.\d+)?\s*$"


@dataclass(frozen=True)
class LatLongCodec(Codec):
    """Two sub-columns: the cell of 64, and the cell of 16 inside of it, each halved at smoothed medians.

    Attributes:
        kind: The column's type, text.
        nullable: Whether null has a code.
        digits: Digits after the point.
        bounds: Lowest and highest latitude, lowest and highest longitude; protected. Empty: nothing may be
            known.
        splits: The tree's thresholds in breadth-first order; latitudes and longitudes in turn.
        separator: What stands between the two numbers.
    """

    encoding: ClassVar[str] = "TABULAR_LAT_LONG"
    kind: pa.DataType
    nullable: bool
    digits: int
    bounds: tuple[float, ...]
    splits: tuple[float, ...]
    separator: str = ","

    @classmethod
    def fit(cls, column: pa.Array, options: FitOptions) -> Self:
        """Builds the tree; a cell of too few subjects is halved in the middle instead of at a median."""
        points, valid = _read(column)
        rule, points = options.protection.take(valid), points[valid]
        digits, separator = _digits(column), _separator(column)
        if rule.hides_all(len(points)):
            return cls(column.type, True, digits, (), (), separator)
        bounds: list[float] = []
        for axis in (0, 1):
            order = np.argsort(points[:, axis], kind="stable")
            bounds += [float(bound) for bound in rule.take(order).bounds(points[order, axis])]
        points = np.clip(points, bounds[::2], bounds[1::2])
        splits: list[float] = []
        cells = [(np.arange(len(points)), bounds)]
        for depth in range(_COARSE + _FINE):
            axis, following = depth % 2, []
            for rows, box in cells:
                split = _split(points[rows, axis], rule.take(rows), box[2 * axis], box[2 * axis + 1])
                splits.append(split)
                above = points[rows, axis] >= split
                lower, upper = list(box), list(box)
                lower[2 * axis + 1] = upper[2 * axis] = split
                following += [(rows[~above], lower), (rows[above], upper)]
            cells = following
        return cls(column.type, column.null_count > 0, digits, tuple(bounds), tuple(splits), separator)

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
        boxes = self._boxes()[(parts[:, 0] << _FINE) + parts[:, 1]]  # (rows, 4)
        drawn = boxes[:, ::2] + rng.random((len(codes), 2)) * (boxes[:, 1::2] - boxes[:, ::2])
        scale = 10**self.digits
        axes = [_texts(np.rint(drawn[:, axis] * scale).astype(np.int64), self.digits) for axis in (0, 1)]
        texts = pc.binary_join_element_wise(*axes, self.separator).cast(self.kind)
        if not self.nullable:
            return texts
        return pc.if_else(pa.array(codes[:, 0] == 0), pa.scalar(None, self.kind), texts)

    def _boxes(self) -> np.ndarray:
        """Returns the bounds of each leaf, `(leaves, 4)`."""
        boxes = np.array([self.bounds])
        start = 0
        for depth in range(_COARSE + _FINE):
            split = np.array(self.splits[start : start + len(boxes)])
            start += len(boxes)
            axis = depth % 2
            boxes = np.repeat(boxes, 2, axis=0)
            boxes[::2, 2 * axis + 1] = split
            boxes[1::2, 2 * axis] = split
        return boxes

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
            "separator": self.separator,
        }

    @classmethod
    def from_json(cls, document: Document, kind: pa.DataType, nullable: bool) -> Self:
        """Reads a codec."""
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise document.fail("bounds", f"do not suit type {kind}")
        bounds = document.array("bounds", np.float64, (None,))
        splits = document.array("splits", np.float64, (None,))
        sizes = (len(bounds), len(splits))
        if sizes not in ((0, 0), (4, 2 ** (_COARSE + _FINE) - 1)) or np.abs(splits).max(initial=0) > 1e3:
            raise document.fail("splits", "are not those of a tree")
        if len(bounds) and (bounds[0] > bounds[1] or bounds[2] > bounds[3] or np.abs(bounds).max() > 1e3):
            raise document.fail("bounds", "are not ascending")
        digits = document.integer("digits", 0, _MAX_DIGITS)
        empty = not len(bounds)
        separator = document.text("separator", (",", ", "))
        return cls(kind, nullable or empty, digits, tuple(bounds.tolist()), tuple(splits.tolist()), separator)


def is_lat_long(column: pa.Array) -> bool:
    """Says whether all texts are "latitude,longitude" within their ranges."""
    present = column.drop_null()
    if not len(present) or not pc.all(pc.match_substring_regex(present[:50], _PATTERN)).as_py():
        return False
    if not pc.all(pc.match_substring_regex(present, _PATTERN)).as_py():
        return False
    points, _ = _read(present)
    return bool((np.abs(points) <= [90, 180]).all() and _digits(present) > 0)


def _read(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places as floats, `(rows, 2)`, 0 for null, and which are there."""
    valid = validity(column)
    texts = column.fill_null("0,0") if column.null_count else column
    matched = pc.match_substring_regex(texts, _PATTERN)
    if len(texts) and not pc.all(matched).as_py():
        wrong = texts.filter(pc.invert(matched))[0].as_py()
        raise UnsupportedData(
            f'the value {wrong[:100]!r} is no "latitude,longitude", which the encoding needs; use AUTO or '
            "TABULAR_CATEGORICAL"
        )
    parts = pc.split_pattern(texts, ",")
    points = np.zeros((len(texts), 2))
    for axis in (0, 1):
        part = (
            pc.utf8_trim_whitespace(pc.list_element(parts, axis)) if len(texts) else pa.array([], pa.string())
        )
        points[:, axis] = part.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return points, valid


def _digits(column: pa.Array) -> int:
    """Returns how many digits after the point the texts have at most."""
    fractions = pc.extract_regex(column.drop_null()[:1000], r"\.(?P<digits>\d+)")
    present = fractions.drop_null()
    if not len(present):
        return 0
    return min(_MAX_DIGITS, int(pc.max(pc.utf8_length(pc.struct_field(present, "digits"))).as_py()))


def _separator(column: pa.Array) -> str:
    spaced = pc.mean(pc.match_substring(column, ", ").cast(pa.float64())).as_py()
    return ", " if spaced is not None and spaced > 0.5 else ","


def _split(values: np.ndarray, rule: Protection, low: float, high: float) -> float:
    """Returns the smoothed median, or the middle of the cell when too few subjects are in it."""
    if rule.people(len(values)) < 2 * max(rule.threshold, 2):
        return (low + high) / 2
    order = np.argsort(values, kind="stable")
    middle = rule.take(order).smooth(values[order], np.array([len(values) // 2]))[0]
    return float(np.clip(middle, low, high))


def _texts(scaled: np.ndarray, digits: int) -> pa.Array:
    """Returns whole numbers of 10^-digits as decimal texts."""
    if digits == 0:
        return pa.array(scaled).cast(pa.string())
    sign = pa.array(np.where(scaled < 0, "-", ""))
    whole, fraction = np.divmod(np.abs(scaled), 10**digits)
    padded = pc.utf8_lpad(pa.array(fraction).cast(pa.string()), digits, "0")
    return pc.binary_join_element_wise(sign, pa.array(whole).cast(pa.string()), ".", padded, "")
