"""Categories: each value that enough subjects share is a code; the others are one rare code."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulacra.engine.codecs._json import Document, values_from_json, values_to_json
from simulacra.engine.codecs.base import (
    MAX_RANGE_VALUES,
    RARE,
    Codec,
    FitOptions,
    ValueRange,
    readable,
    validity,
)

__all__ = ["CategoricalCodec"]


@dataclass(frozen=True)
class CategoricalCodec(Codec):
    """Codes: null (if nullable), rare (if there is any), then the categories by falling number of subjects.

    A rare value decodes to `_RARE_` in columns of text with the method CONSTANT. Where the column's type
    cannot hold that word, and with SAMPLE, sampling gives no rare code, and decoding one draws a category.

    Attributes:
        kind: The column's type.
        nullable: Whether null has a code.
        categories: The kept values.
        rare: Whether rare values have a code.
        constant: Whether sampling may give the rare code.
    """

    encoding: ClassVar[str] = "TABULAR_CATEGORICAL"
    kind: pa.DataType
    nullable: bool
    categories: pa.Array
    rare: bool
    constant: bool

    @classmethod
    def fit(cls, column: pa.Array, options: FitOptions) -> Self:
        """Keeps the values that at least `threshold` subjects share."""
        present = column.drop_null()
        encoded = present.dictionary_encode()
        values, codes = encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False)
        rule = options.protection
        if column.null_count and rule.subjects is not None:
            rule = rule.take(validity(column))
        counts = rule.count(codes, len(values))
        kept = counts >= (rule.threshold if len(codes) else 1)
        if rule.hides_all(len(codes)):
            kept &= not rule.enabled
        order = np.lexsort((_ranks(values), -counts))
        categories = values.take(pa.array(order[kept[order]]))
        is_text = _is_text(column.type)
        rare = bool(len(codes)) and not kept.all()
        nullable = column.null_count > 0 or (not len(categories) and not (is_text and rare))
        return cls(
            column.type,
            nullable,
            categories,
            rare or not (nullable or len(categories)),
            options.constant and is_text,
        )

    @property
    def _first(self) -> int:
        return int(self.nullable) + int(self.rare)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """One sub-column."""
        return (self._first + len(self.categories),)

    @property
    def forbidden(self) -> tuple[tuple[int, int], ...]:
        """The rare code, unless it may appear in the output or nothing else is there."""
        if self.rare and not self.constant and (self.nullable or len(self.categories)):
            return ((0, int(self.nullable)),)
        return ()

    def encode(self, column: pa.Array) -> np.ndarray:
        """Looks the values up; unseen ones become rare, or the most frequent category where none was rare."""
        if pa.types.is_null(self.kind):
            return np.zeros((len(column), 1), np.int32)
        column = column.cast(self.kind) if column.type != self.kind else column
        found = pc.index_in(column, value_set=self.categories).fill_null(-1).to_numpy(zero_copy_only=False)
        codes = np.where(found >= 0, found + self._first, int(self.nullable))
        codes = np.minimum(codes, self.cardinalities[0] - 1)
        if column.null_count:
            codes[~validity(column)] = 0
        return codes.astype(np.int32)[:, None]

    def decode(self, codes: np.ndarray, rng: np.random.Generator) -> pa.Array:
        """Looks the codes up."""
        codes = codes[:, 0].astype(np.int64)
        table = self.categories
        rare = int(self.nullable) if self.rare else -1
        drawn = codes == rare
        positions = codes - self._first
        if self.constant:
            positions[drawn] = len(table)
            table = pa.concat_arrays([table, pa.array([RARE], self.kind)])
        elif len(table):
            positions[drawn] = rng.integers(0, len(table), int(drawn.sum()))
        missing = (codes == 0) & self.nullable if len(table) else np.ones(len(codes), bool)
        return table.take(pa.array(positions.clip(min=0), mask=missing))

    def unknown(self, column: pa.Array) -> np.ndarray:
        """Says which values are not categories; null never is, since as a seed it is a gap to fill."""
        column = column.cast(self.kind) if column.type != self.kind else column
        known = pc.is_in(column, value_set=self.categories).to_numpy(zero_copy_only=False)
        if _is_text(self.kind) and self.rare:
            known |= (
                pc.equal(column, pa.scalar(RARE, self.kind)).fill_null(False).to_numpy(zero_copy_only=False)
            )
        unknown: np.ndarray = ~known & validity(column)
        return unknown

    def labels(self) -> list[str]:
        """Returns a text for each code."""
        return ["null"] * self.nullable + [RARE] * self.rare + values_to_text(self.categories)

    def value_range(self) -> ValueRange:
        """Returns the categories by popularity."""
        texts = values_to_text(self.categories[:MAX_RANGE_VALUES])
        return ValueRange(values=tuple(texts), has_null=self.nullable)

    def to_json(self) -> dict[str, Any]:
        """Returns the categories as texts."""
        return {"categories": values_to_json(self.categories), "rare": self.rare, "constant": self.constant}

    @classmethod
    def from_json(cls, document: Document, kind: pa.DataType, nullable: bool) -> Self:
        """Reads a codec."""
        categories = values_from_json(document.texts("categories"), kind, "categories")
        codec = cls(kind, nullable, categories, document.flag("rare"), document.flag("constant"))
        sound = (
            codec.cardinalities[0] > 0
            and len(categories.unique()) == len(categories)
            and not categories.null_count
        )
        if not sound or (codec.constant and not _is_text(kind)):
            raise document.fail("categories", "no codes, or the same value twice")
        return codec


def values_to_text(array: pa.Array) -> list[str]:
    """Returns values as people read them."""
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return values_to_json(array)
    return readable(array)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _ranks(values: pa.Array) -> np.ndarray:
    """Returns a fixed order of the values, so that codes do not depend on the order of the rows."""
    if not len(values):
        return np.empty(0, np.int64)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    ranks: np.ndarray = pc.rank(values, tiebreaker="first").to_numpy(zero_copy_only=False)
    return ranks
