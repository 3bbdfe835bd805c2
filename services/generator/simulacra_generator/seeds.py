"""Seed rows that come inside a configuration: JSON lines or a Parquet file, as an Arrow table."""

import io

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from simulacra.domain import SyntheticTableConfiguration
from simulacra.errors import InvalidArgument
from simulacra.frames import unnamed_index

__all__ = ["as_learnt", "seed_rows"]


def seed_rows(configuration: SyntheticTableConfiguration) -> pa.Table | None:
    """Reads the seed rows of a configuration; None if it has none, or they are at a connector.

    Raises:
        InvalidArgument: They cannot be read.
    """
    if configuration.sample_seed_dict is not None:
        try:
            return _json_lines(configuration.sample_seed_dict)
        except pa.ArrowInvalid as error:
            raise InvalidArgument.of("sample_seed_dict", f"is not JSON lines: {error}") from error
    if configuration.sample_seed_data is not None:
        try:
            table = pa.parquet.read_table(io.BytesIO(configuration.sample_seed_data))
        except (pa.ArrowInvalid, OSError) as error:
            raise InvalidArgument.of("sample_seed_data", f"is not a Parquet file: {error}") from error
        return table.drop(unnamed_index(table.schema))
    return None


def as_learnt(seeds: pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns seed rows with texts as the dates or times that their columns hold, as far as they are such.

    A time may name its zone, as JSON has it (`2021-05-06T10:00:00Z`); without one it is local time, and UTC
    in a column of zoned times.

    Args:
        seeds: The rows.
        schema: Of the table that was learnt.
    """
    for position, field in enumerate(seeds.schema):
        at = schema.get_field_index(field.name)
        if at >= 0 and pa.types.is_string(field.type) and _is_moment(schema.field(at).type):
            seeds = seeds.set_column(
                position, field.name, _moments(seeds.column(position), schema.field(at).type)
            )
    return seeds


def _moments(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    unit = kind.unit if pa.types.is_timestamp(kind) else "s"
    for steps in ([kind], [pa.timestamp(unit), kind], [pa.timestamp(unit, "UTC"), pa.timestamp(unit), kind]):
        column = texts
        try:
            for step in steps:
                column = column.cast(step)
        except pa.ArrowInvalid:
            continue
        return column
    return texts  # sampling says what is wrong with it


def _is_moment(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _json_lines(data: bytes) -> pa.Table:
    """Reads JSON lines, texts as texts: what looks like a date may be one of many texts of its column."""
    table = pa.json.read_json(io.BytesIO(data))
    dates = [pa.field(field.name, pa.string()) for field in table.schema if pa.types.is_timestamp(field.type)]
    if not dates:
        return table
    options = pa.json.ParseOptions(explicit_schema=pa.schema(dates), unexpected_field_behavior="infer")
    return pa.json.read_json(io.BytesIO(data), parse_options=options).select(table.column_names)
