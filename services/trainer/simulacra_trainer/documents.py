"""Between a generator's row and the `Generator` that clients see."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from simulacra.domain import Generator, GeneratorUsage, Metadata, PermissionLevel
from simulacra.rpc import Principal

__all__ = ["document_of", "generator_of"]

# Columns of the row, or counted when they are read.
_ELSEWHERE = {"id", "name", "metadata", "training_status", "revision"}


def document_of(generator: Generator) -> dict[str, Any]:
    """Returns what is stored of a generator in its row's document."""
    return generator.model_dump(mode="json", exclude=_ELSEWHERE, exclude_none=True)


def generator_of(
    row: sa.RowMapping, viewer: Principal, counts: Mapping[str, int], *, values: bool = True
) -> Generator:
    """Returns the generator of a row; without `values`, value ranges do not list theirs."""
    document = dict(row["document"])
    usage = {**document.pop("usage", {}), **counts}
    if not values:
        document["tables"] = [_without_values(table) for table in document.get("tables", ())]
    return Generator.model_validate(
        {
            **document,
            "id": row["id"],
            "name": row["name"],
            "training_status": row["training_status"],
            "metadata": _metadata(row, viewer),
            "usage": GeneratorUsage(**{name: usage.get(name, 0) for name in GeneratorUsage.model_fields}),
            "revision": row["revision"],
        }
    )


def _metadata(row: sa.RowMapping, viewer: Principal) -> Metadata:
    created_at: datetime = row["created_at"]
    owned = viewer.service is not None or row["owner_id"] == viewer.user_id
    return Metadata(
        created_at=created_at,
        owner_id=row["owner_id"],
        owner_name=row["owner_name"],
        current_user_permission_level=PermissionLevel.ADMIN if owned else PermissionLevel.VIEW,
    )


def _without_values(table: Mapping[str, Any]) -> dict[str, Any]:
    columns = []
    for column in table["columns"]:
        shown = {name: value for name, value in column.get("value_range", {}).items() if name != "values"}
        columns.append({**column, "value_range": shown} if "value_range" in column else column)
    return {**table, "columns": columns}
