"""The types of pandas that Arrow and Parquet do not keep: stored as plain values, and made again.

Which type a column had travels in its field's metadata, from the frame that is trained on to the synthetic
one.
"""

import json
import re
import uuid
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FRAME_TYPE", "from_stored", "to_arrow"]

FRAME_TYPE = b"simulacra:frame_type"
_PERIOD = re.compile(r"period\[.{1,32}\]")
_SCALARS = (bool, int, float, str)


def to_arrow(frame: "pd.DataFrame") -> pa.Table:
    """Returns a frame as an Arrow table, its index dropped; periods become their first days' timestamps."""
    plain, types = frame.copy(deep=False), {}
    for name in frame.columns:
        found = _stored(frame[name])
        if found is not None:
            plain[name], types[str(name)] = found
    table = pa.Table.from_pandas(plain, preserve_index=False)
    fields = [
        field.with_metadata({FRAME_TYPE: types[field.name]}) if field.name in types else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields, table.schema.metadata))


def _stored(column: "pd.Series[Any]") -> "tuple[pd.Series[Any], str] | None":
    """Returns a column's plain values and the name of its type; None where Arrow keeps the type."""
    kind, ordered = str(column.dtype), getattr(column.dtype, "ordered", False)
    if kind == "category" and not ordered:
        values = column.astype(column.cat.categories.dtype)
        inner = _stored(values)
        return (values, kind) if inner is None else (inner[0], f"category[{inner[1]}]")
    if _PERIOD.fullmatch(kind):
        return column.dt.to_timestamp(), kind
    if kind != "object":
        return None
    kinds = {type(value) for value in column.dropna()}
    if any(found.__module__ == "numpy" for found in kinds):
        column = column.map(_python, na_action="ignore").astype(object)
        kinds = {type(value) for value in column.dropna()}
    if kinds == {uuid.UUID}:
        return column.map(str, na_action="ignore"), "uuid"
    if kinds == {int} and not column.dropna().between(-(2**63), 2**63 - 1).all():
        if column.dropna().between(0, 2**64 - 1).all():
            return column.astype("UInt64"), "UInt64"
        return column.map(json.dumps, na_action="ignore"), "objects"
    if len(kinds) > 1 and kinds <= set(_SCALARS):
        return column.map(json.dumps, na_action="ignore"), "objects"
    if len(kinds) > 1 and {bytes, str} <= kinds:  # which Arrow would make bytes
        raise TypeError("a column has both bytes and text")
    if len(kinds) > 1 and date in kinds and all(issubclass(found, date) for found in kinds):
        return column.map(_moment, na_action="ignore"), "moments"  # Arrow would drop the times of day
    return None


def _python(value: Any) -> Any:
    """Returns a number, truth or text of numpy as Python's own."""
    own = value.item() if type(value).__module__ == "numpy" and value.dtype.kind in "biufU" else value
    return own if isinstance(own, _SCALARS) else value


def _moment(value: date) -> datetime:
    """Returns a day as its midnight."""
    return value if isinstance(value, datetime) else datetime.combine(value, time())


def from_stored(column: "pd.Series[Any]", kind: str) -> "pd.Series[Any]":
    """Returns a column of plain values in the type that it had; unchanged where a value does not allow it."""
    try:
        if kind == "uuid":
            return column.astype(object).map(uuid.UUID, na_action="ignore")
        if kind.startswith("category["):
            return from_stored(column, kind[9:-1]).astype("category")
        if kind == "UInt64":
            return column.astype(object).map(int, na_action="ignore")
        if kind == "objects":
            return column.astype(object).map(_object, na_action="ignore")
        if _PERIOD.fullmatch(kind):
            periods: pd.Series[Any] = column.dt.to_period(kind[7:-1])
            return periods
        return column.astype("category") if kind == "category" else column
    except (ValueError, TypeError, AttributeError):
        return column


def _object(text: str) -> Any:
    """Reads one of several scalars; what stands for a rare value is no JSON and stays text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
