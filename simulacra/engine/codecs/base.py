"""What every codec is: a reversible map between one column and a few small integer codes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.protection import Protection

__all__ = ["RARE", "Codec", "FitOptions", "ValueRange", "readable", "validity"]

RARE = "_RARE_"
"""What stands for a rare category in the output when the replacement method is CONSTANT."""

MAX_RANGE_VALUES = 1000


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The privacy-safe range of a column's values, as texts; see `SourceColumnValueRange`."""

    min: str | None = None
    max: str | None = None
    values: tuple[str, ...] | None = None
    has_null: bool = False


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What fitting a codec may depend on besides the values.

    Attributes:
        protection: The rule, with the subjects of the column's rows.
        constant: Replace rare categories by `_RARE_` (CONSTANT) rather than by sampled others (SAMPLE).
        max_atoms: Up to how many distinct numbers are each a code of their own; None: the subjects decide.
    """

    protection: Protection = field(default_factory=Protection)
    constant: bool = True
    max_atoms: int | None = None


class Codec(ABC):
    """Maps the values of one column to rows of codes and back.

    Sub-column s takes the codes 0..cardinalities[s]-1. When `nullable`, code 0 of the first sub-column is
    null, and code 0 of every other sub-column stands for the absence of a value; in `ragged` codecs it may
    also be its end.
    """

    encoding: ClassVar[str]
    kind: pa.DataType
    nullable: bool

    @classmethod
    @abstractmethod
    def fit(cls, column: pa.Array, options: FitOptions) -> Self:
        """Learns the map from a column's values (an array of a plain, not dictionary, type)."""

    @property
    @abstractmethod
    def cardinalities(self) -> tuple[int, ...]:
        """The number of codes of each sub-column, at least 1."""

    @property
    def forbidden(self) -> tuple[tuple[int, int], ...]:
        """The (sub-column, code) pairs that sampling must not give."""
        return ()

    @property
    def ragged(self) -> bool:
        """Says whether a value may end early, so that later parts may be absent although it is there."""
        return False

    @property
    def places(self) -> tuple[np.ndarray | None, ...]:
        """The place of each sub-column's codes in the order of the values, in [0, 1].

        NaN for a code without a place, such as null; None for a sub-column whose codes have no order.
        """
        return (None,) * len(self.cardinalities)

    @abstractmethod
    def encode(self, column: pa.Array) -> np.ndarray:
        """Returns the codes as int32 of shape (rows, sub-columns)."""

    @abstractmethod
    def decode(self, codes: np.ndarray, rng: np.random.Generator) -> pa.Array:
        """Returns a column of type `kind`; `rng` draws within bins."""

    @abstractmethod
    def value_range(self) -> ValueRange:
        """Returns the protected range of values."""

    def unknown(self, column: pa.Array) -> np.ndarray:
        """Says of each value whether nothing was learnt about it, so that it cannot be a seed."""
        return np.zeros(len(column), bool)

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Returns the codec's own part of its document."""

    @classmethod
    @abstractmethod
    def from_json(cls, document: Document, kind: pa.DataType, nullable: bool) -> Self:
        """Reads a codec; raises `CorruptBundle` for a document that is not one."""


def validity(column: pa.Array) -> np.ndarray:
    """Returns which values are not null, as booleans."""
    if column.null_count == 0:
        return np.ones(len(column), bool)
    valid: np.ndarray = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def readable(array: pa.Array) -> list[str]:
    """Returns values as people read them, dates in ISO 8601."""
    try:
        return [
            value.isoformat() if hasattr(value, "isoformat") else str(value) for value in array.to_pylist()
        ]
    except (
        OverflowError,
        ValueError,
        KeyError,
    ):  # beyond Python's years, or of a zone that is not known here
        kind = array.type
        whole = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.int64())
        unit = "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
        if pa.types.is_duration(kind):
            return [f"{value} {unit}" for value in whole.to_pylist()]
        moments = np.datetime_as_string(whole.to_numpy().astype(f"datetime64[{unit}]"))
        zone = "+00:00" if pa.types.is_timestamp(kind) and kind.tz else ""
        return [f"{moment}{zone}" for moment in moments]
