"""Keeps whole subjects together: of a table only those rows whose keys are among those read before."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from simulacra.artifacts import ArtifactStore
from simulacra.errors import InvalidArgument
from simulacra_connector.drivers.base import KeySet

__all__ = ["key_literals", "key_set", "rows_within"]

_SEPARATOR = "\x1f"
_PUSHED_DOWN = 20_000
"""Keys that are sent to a server; with more, reading the table and leaving rows out here is as fast."""


def key_set(
    artifacts: ArtifactStore, artifact: str, columns: Sequence[str], referenced: Sequence[str]
) -> KeySet:
    """Reads the keys of a table that is in an artifact.

    Raises:
        InvalidArgument: The columns do not fit together.
    """
    found = artifacts.open(artifact)
    missing = [name for name in referenced if name not in found.schema.names]
    if missing or len(columns) != len(referenced) or not columns:
        raise InvalidArgument.of("within", f"there are no key columns {list(referenced)} in {artifact}")
    table = found.table(list(referenced))
    return KeySet(tuple(columns), table.group_by(list(referenced)).aggregate([]))


def rows_within(batches: Iterator[pa.RecordBatch], keys: KeySet) -> Iterator[pa.RecordBatch]:
    """Keeps the rows whose key is in the set; a key with a null in it belongs to nobody."""
    wanted = _joined(keys.values.columns)
    for batch in batches:
        found = _joined([batch[name] for name in keys.columns])
        if found.type != wanted.type:
            found = found.cast(wanted.type)
        mask = pc.and_(pc.is_valid(found), pc.is_in(found, value_set=wanted))
        yield batch.filter(mask)


def key_literals(keys: KeySet | None) -> list[str] | None:
    """Returns the keys as SQL literals, if they are few and of one column of whole numbers; else None."""
    if keys is None or len(keys.columns) > 1 or keys.values.num_rows > _PUSHED_DOWN:
        return None
    column = keys.values.column(0)
    if not pa.types.is_integer(column.type):
        return None
    return [str(value) for value in column.drop_null().to_pylist()] or ["NULL"]


def _joined(columns: Sequence[Any]) -> Any:
    """Returns one array of keys: of several columns, their texts together; null where one of them is null."""
    if len(columns) == 1:
        [column] = columns
    else:
        column = pc.binary_join_element_wise(*(each.cast(pa.string()) for each in columns), _SEPARATOR)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
