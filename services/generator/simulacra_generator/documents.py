"""Between a dataset's row and the `SyntheticDataset` that clients see."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from simulacra.domain import Metadata, PermissionLevel, SyntheticDataset, SyntheticDatasetUsage
from simulacra.rpc import Principal

__all__ = ["dataset_of", "document_of"]

# Columns of the row, or counted when they are read.
_ELSEWHERE = {"id", "name", "metadata", "generation_status", "revision"}


def document_of(dataset: SyntheticDataset) -> dict[str, Any]:
    """Returns what is stored of a dataset in its row's document."""
    return dataset.model_dump(mode="json", exclude=_ELSEWHERE, exclude_none=True)


def dataset_of(row: sa.RowMapping, viewer: Principal, counts: Mapping[str, int]) -> SyntheticDataset:
    """Returns the dataset of a row."""
    document = dict(row["document"])
    usage = {**document.pop("usage", {}), **counts}
    owned = viewer.service is not None or row["owner_id"] == viewer.user_id
    metadata = Metadata(
        created_at=row["created_at"],
        owner_id=row["owner_id"],
        owner_name=row["owner_name"],
        current_user_permission_level=PermissionLevel.ADMIN if owned else PermissionLevel.VIEW,
    )
    return SyntheticDataset.model_validate(
        {
            **document,
            "id": row["id"],
            "name": row["name"],
            "generation_status": row["generation_status"],
            "metadata": metadata,
            "usage": SyntheticDatasetUsage(
                **{name: usage.get(name, 0) for name in SyntheticDatasetUsage.model_fields}
            ),
            "revision": row["revision"],
        }
    )
