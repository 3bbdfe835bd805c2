"""A table's codecs together: analysis, encoding to one integer matrix, decoding to the table's own schema."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from simulacra.engine.codecs import (
    Codec,
    FitOptions,
    Protection,
    ValueRange,
    codec_from_json,
    codec_to_json,
    fit_codec,
)
from simulacra.engine.codecs._json import Document, type_from_json, type_to_json
from simulacra.engine.codecs.arrow import holds_text, plain, restored, working_type
from simulacra.engine.codecs.protection import MIN_SUBJECTS
from simulacra.engine.split import numbered
from simulacra.engine.threads import in_threads
from simulacra.errors import (
    CorruptBundle,
    InvalidArgument,
    SimulacraError,
    TrainingDataInsufficient,
    UnsupportedData,
)

__all__ = ["AnalyzeOptions", "ColumnSpec", "SubColumn", "TableCodec", "analyze"]

_MAX_COLUMNS = 100_000


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A column to learn: its name, and its encoding by the names of `ModelEncodingType` (a str enum)."""

    name: str
    encoding: str = "AUTO"


@dataclass(frozen=True, slots=True)
class AnalyzeOptions:
    """How a table is analysed.

    Attributes:
        value_protection: Whether rare categories and extremes are protected.
        rare_category_replacement_method: CONSTANT (`_RARE_`) or SAMPLE (another category).
        seed: Of the randomised thresholds.
        max_atoms: Up to how many distinct numbers of a column are each a code of their own; None is the root
            of how many subjects have one, between 20 and 100, and 100 without `value_protection`.
        threads: Columns that are worked on at once.
    """

    value_protection: bool = True
    rare_category_replacement_method: str = "CONSTANT"
    seed: int = 0
    max_atoms: int | None = None
    threads: int = 2


@dataclass(frozen=True, slots=True)
class SubColumn:
    """One column of the code matrix.

    Attributes:
        column: Position of the table's column.
        part: Position among the column's sub-columns.
        cardinality: Number of codes.
    """

    column: int
    part: int
    cardinality: int


@dataclass(frozen=True)
class TableCodec:
    """The codecs of a table's columns, in the order of its schema.

    Attributes:
        schema: The table's Arrow schema without metadata; decoding gives exactly this.
        codecs: One codec per column.
    """

    schema: pa.Schema
    codecs: tuple[Codec, ...]

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return list(self.schema.names)

    @cached_property
    def sub_columns(self) -> tuple[SubColumn, ...]:
        """The columns of the code matrix."""
        return tuple(
            SubColumn(column, part, size)
            for column, codec in enumerate(self.codecs)
            for part, size in enumerate(codec.cardinalities)
        )

    @property
    def places(self) -> tuple[np.ndarray | None, ...]:
        """The places of each sub-column's codes in the order of the values; see `Codec.places`."""
        return tuple(places for codec in self.codecs for places in codec.places)

    @property
    def encodings(self) -> dict[str, str]:
        """The encoding of each column, after AUTO has chosen."""
        return {name: codec.encoding for name, codec in zip(self.columns, self.codecs, strict=True)}

    def value_ranges(self) -> dict[str, ValueRange]:
        """The protected range of each column's values."""
        return {name: codec.value_range() for name, codec in zip(self.columns, self.codecs, strict=True)}

    def encode(self, table: pa.Table, threads: int = 2) -> np.ndarray:
        """Returns the table's codes as int32 of shape (rows, sub-columns).

        Raises:
            InvalidArgument: A column is missing or cannot be read as its type.
        """
        matrix = np.empty((table.num_rows, len(self.sub_columns)), np.int32)
        starts = np.cumsum([0, *(len(codec.cardinalities) for codec in self.codecs)])

        def encode(position: int) -> None:
            codes = self.codecs[position].encode(self.read(table, position))
            matrix[:, starts[position] : starts[position + 1]] = codes

        in_threads(encode, range(len(self.codecs)), threads)
        return matrix

    def read(self, table: pa.Table, position: int) -> pa.Array:
        """Returns a column of a table in the type that its codec works on."""
        name = self.schema.names[position]
        if name not in table.column_names:
            raise InvalidArgument.of(name, "the column is missing")
        try:
            return plain(table[name], self.codecs[position].kind)
        except pa.ArrowException as error:
            raise InvalidArgument.of(
                name, f"cannot be read as {self.codecs[position].kind}: {error}"
            ) from error

    def decode(self, codes: np.ndarray, rng: np.random.Generator) -> pa.Table:
        """Returns the table of a code matrix; `rng` draws values within bins."""
        arrays, start = [], 0
        for field, codec in zip(self.schema, self.codecs, strict=True):
            width = len(codec.cardinalities)
            array = codec.decode(codes[:, start : start + width], rng)
            arrays.append(restored(array, field.type))
            start += width
        if not arrays:
            return pa.table({}, schema=self.schema)
        return pa.table(arrays, schema=self.schema)

    def to_json(self) -> dict[str, Any]:
        """Returns the document that `from_json` reads."""
        columns = [
            {
                "name": field.name,
                "type": type_to_json(field.type),
                "nullable": field.nullable,
                "codec": codec_to_json(codec),
            }
            for field, codec in zip(self.schema, self.codecs, strict=True)
        ]
        return {"columns": columns}

    @classmethod
    def from_json(cls, value: object) -> "TableCodec":
        """Reads a table's codecs.

        Raises:
            CorruptBundle: The document is damaged or hostile.
        """
        columns = Document(value).children("columns")
        if len(columns) > _MAX_COLUMNS:
            raise CorruptBundle("columns: too many")
        fields, codecs = [], []
        for column in columns:
            kind = type_from_json(column.raw("type"))
            fields.append(pa.field(column.text("name"), kind, column.flag("nullable")))
            codec = codec_from_json(column.child("codec"))
            try:
                suits = working_type(kind) == codec.kind
            except UnsupportedData:
                suits = False
            if not suits:
                raise column.fail("codec", "is of another type than the column")
            codecs.append(codec)
        if len({field.name for field in fields}) < len(fields):
            raise CorruptBundle("columns: two have the same name")
        return cls(pa.schema(fields), tuple(codecs))


def analyze(
    table: pa.Table,
    columns: Sequence[ColumnSpec] | None = None,
    *,
    options: AnalyzeOptions | None = None,
    subjects: np.ndarray | None = None,
) -> TableCodec:
    """Learns the codecs of a table.

    Args:
        table: The training rows.
        columns: The columns to learn, in the order of the output; all with AUTO by default.
        options: Protection and threads.
        subjects: The subject (root entity) of each row, any hashable ids as an array; each row its own by
            default.

    Raises:
        TrainingDataInsufficient: The table has no columns, or too few subjects to learn from.
        InvalidArgument: A column is not in the table, or its encoding does not suit it.
        UnsupportedData: A column's type or values are not supported.
    """
    options = options or AnalyzeOptions()
    columns = [ColumnSpec(name) for name in table.column_names] if columns is None else list(columns)
    if not columns:
        raise TrainingDataInsufficient("the table has no columns to learn from")
    for spec in columns:
        if table.column_names.count(spec.name) != 1:
            raise InvalidArgument.of(spec.name, "is not a column of the table, or there are two of this name")
    if subjects is not None:
        shape = np.shape(subjects)
        if shape != (table.num_rows,):
            raise InvalidArgument.of(
                "subjects", f"{shape} ids for {table.num_rows} rows; give one id per row, in one dimension"
            )
        subjects = numbered(subjects)
    method = str(options.rare_category_replacement_method)
    if method not in ("CONSTANT", "SAMPLE"):
        raise InvalidArgument.of(
            "rare_category_replacement_method", f"{method!r} is unknown; take CONSTANT or SAMPLE"
        )
    constant = method == "CONSTANT"

    def fit(position: int) -> Codec:
        spec = columns[position]
        rng = np.random.default_rng([options.seed & (2**63 - 1), position])
        threshold = 5 + int(rng.integers(0, 3)) if options.value_protection else 1
        kind = table.schema.field(spec.name).type
        fit_options = FitOptions(
            Protection(threshold, subjects), constant and holds_text(kind), options.max_atoms
        )
        try:
            column = plain(table[spec.name], working_type(kind))
            return fit_codec(column, str(spec.encoding), fit_options)
        except SimulacraError as error:
            error.message = f'column "{spec.name}": {error.message}'
            error.args = (error.message,)
            raise

    codecs = in_threads(fit, range(len(columns)), options.threads)
    people = table.num_rows if subjects is None else int(subjects.max(initial=-1)) + 1
    if options.value_protection and people < MIN_SUBJECTS:
        raise TrainingDataInsufficient(
            f"value protection needs {MIN_SUBJECTS} subjects to learn from and finds {people}; "
            "give more rows, or set value_protection to false if the data are not personal"
        )
    fields = [table.schema.field(spec.name).remove_metadata() for spec in columns]
    fields = [f.with_nullable(True) if c.nullable else f for f, c in zip(fields, codecs, strict=True)]
    return TableCodec(pa.schema(fields), tuple(codecs))
