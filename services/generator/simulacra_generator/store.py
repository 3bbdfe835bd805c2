"""The service's rows: synthetic datasets."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from simulacra.domain import ProgressStatus
from simulacra.store import Page, Resources, Viewer, contains, resource_table
from simulacra.store.releases import release_table
from simulacra.store.tables import grants, likes

__all__ = ["DatasetRows", "connector_releases", "metadata", "releases", "synthetic_datasets"]

metadata = sa.MetaData()

synthetic_datasets = resource_table(
    metadata,
    "synthetic_datasets",
    sa.Column("generation_status", sa.Text, nullable=False),
    sa.Column("generator_id", sa.Text, nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
)
"""`document` is the `SyntheticDataset` without what other columns say; `state` is the `DatasetState`."""

releases = release_table(metadata)
"""Generators that are to be told that a synthetic dataset does not use them."""

connector_releases = release_table(metadata, "connector_releases")
"""The same for connectors."""


class DatasetRows(Resources):
    """The datasets' table, and the counts that are shown with a dataset."""

    def __init__(self) -> None:
        super().__init__(synthetic_datasets, noun="synthetic dataset")

    async def list(
        self,
        connection: AsyncConnection,
        viewer: Viewer,
        *,
        search_term: str,
        statuses: Sequence[ProgressStatus],
        generator_id: str,
        page_size: int,
        page_token: str,
    ) -> Page:
        """Reads a page, newest first; the search term is looked for in names and descriptions."""
        columns = synthetic_datasets.c
        where: list[sa.ColumnElement[bool]] = []
        if search_term:
            description = sa.func.coalesce(columns.document["description"].as_string(), "")
            where.append(sa.or_(contains(columns.name, search_term), contains(description, search_term)))
        if statuses:
            where.append(columns.generation_status.in_([status.value for status in statuses]))
        if generator_id:
            where.append(columns.generator_id == generator_id)
        return await self.page(connection, viewer, where=where, page_size=page_size, page_token=page_token)

    async def counts(self, connection: AsyncConnection, ids: Sequence[str]) -> Mapping[str, dict[str, int]]:
        """Reads the counted fields of `SyntheticDatasetUsage` for some datasets: id -> field -> number."""
        found: dict[str, dict[str, int]] = {id: {} for id in ids}
        for field, table in (("no_of_shares", grants), ("no_of_likes", likes)):
            key = table.c.resource_id
            statement = sa.select(key, sa.func.count()).where(key.in_(ids)).group_by(key)
            for id, value in await connection.execute(statement):
                found[id][field] = int(value)
        return found
