"""Which tables of a training are read together: those of one connector, in one snapshot, whole subjects.

The first of them has its step read all; the steps of the others come after it and find their rows there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from simulacra.domain import SourceForeignKey, SourceTable, key_columns
from simulacra_trainer.spec import TableSpec

__all__ = ["pull_payloads"]


def pull_payloads(tables: Sequence[SourceTable], specs: Sequence[TableSpec]) -> dict[int, dict[str, Any]]:
    """Returns what is added to the payloads of the tables' pull steps, by the tables' positions.

    The leader of a group gets `group`: what to read, in order; the others get `leader`: its position. A table
    that is alone at its connector gets nothing.
    """
    by_connector: dict[str, list[int]] = {}
    for index, spec in enumerate(specs):
        by_connector.setdefault(spec.connector_id, []).append(index)
    payloads: dict[int, dict[str, Any]] = {}
    for group in by_connector.values():
        if len(group) > 1:
            payloads |= {index: {"leader": group[0]} for index in group[1:]}
            payloads[group[0]] = {"group": _group(tables, specs, group)}
    return payloads


def _group(
    tables: Sequence[SourceTable], specs: Sequence[TableSpec], group: Sequence[int]
) -> list[dict[str, Any]]:
    positions = {tables[index].name: index for index in group}
    ordered: dict[int, dict[str, Any]] = {}

    def visit(index: int) -> None:
        if index in ordered:
            return
        spec = specs[index]
        key = next((key for key in tables[index].foreign_keys or () if key.is_context), None)
        parent = positions.get(key.referenced_table) if key is not None else None
        if parent is not None:
            visit(parent)
        read: dict[str, Any] = {
            "index": index,
            "location": spec.location,
            "columns": [name for name, _ in spec.columns],
            "max_rows": spec.max_rows,
            "seed": spec.seed,
        }
        if key is not None and parent is not None and _is_sample(ordered[parent]):
            columns, referenced = _columns(key), key_columns(tables[parent])
            if set(columns) <= set(read["columns"]) and set(referenced) <= set(ordered[parent]["columns"]):
                read["max_rows"] = None  # the subjects of the parent's sample are kept whole
                read["within"] = {"index": parent, "columns": columns, "referenced_columns": referenced}
        ordered[index] = read

    for index in group:
        visit(index)
    return list(ordered.values())


def _is_sample(read: Mapping[str, Any]) -> bool:
    return read["max_rows"] is not None or "within" in read


def _columns(key: SourceForeignKey) -> list[str]:
    return list(key.columns or filter(None, [key.column]))
