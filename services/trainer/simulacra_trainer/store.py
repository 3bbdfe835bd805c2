"""The trainer's rows: generators, what is known of their models, and what was generated with them."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from simulacra.domain import ProgressStatus
from simulacra.store import Page, Resources, Transaction, Viewer, contains, resource_table
from simulacra.store.releases import release_table
from simulacra.store.tables import grants, likes, used_by

__all__ = ["GeneratorRows", "generator_usage", "generators", "metadata", "releases"]

metadata = sa.MetaData()

generators = resource_table(
    metadata,
    "generators",
    sa.Column("training_status", sa.Text, nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
)
"""`document` is the `Generator` without what other columns say; `state` is the `state.TrainingState`."""

generator_usage = sa.Table(
    "generator_usage",
    metadata,
    sa.Column("generator_id", sa.Text, primary_key=True),
    sa.Column("usage_id", sa.Text, primary_key=True),
    sa.Column("datapoints", sa.BigInteger, nullable=False),
)
"""Values generated with a generator, once for each thing that generated them."""


releases = release_table(metadata)
"""Connectors that are to be told that a generator does not use them."""


class GeneratorRows(Resources):
    """The generators' table, and the counts that are shown with a generator."""

    def __init__(self) -> None:
        super().__init__(generators, noun="generator")

    async def list(
        self,
        connection: AsyncConnection,
        viewer: Viewer,
        *,
        search_term: str,
        statuses: Sequence[ProgressStatus],
        page_size: int,
        page_token: str,
    ) -> Page:
        """Reads a page, newest first; the search term is looked for in names and descriptions."""
        where: list[sa.ColumnElement[bool]] = []
        if search_term:
            description = sa.func.coalesce(generators.c.document["description"].as_string(), "")
            where.append(sa.or_(contains(generators.c.name, search_term), contains(description, search_term)))
        if statuses:
            where.append(generators.c.training_status.in_([status.value for status in statuses]))
        return await self.page(connection, viewer, where=where, page_size=page_size, page_token=page_token)

    async def counts(self, connection: AsyncConnection, ids: Sequence[str]) -> Mapping[str, dict[str, int]]:
        """Reads the counted fields of `GeneratorUsage` for some generators: id -> field -> number."""
        found: dict[str, dict[str, int]] = {id: {} for id in ids}
        counted: dict[str, tuple[sa.ColumnElement[str], sa.ColumnElement[Any]]] = {
            "total_datapoints": (generator_usage.c.generator_id, sa.func.sum(generator_usage.c.datapoints)),
            "no_of_synthetic_datasets": (used_by.c.resource_id, sa.func.count()),
            "no_of_shares": (grants.c.resource_id, sa.func.count()),
            "no_of_likes": (likes.c.resource_id, sa.func.count()),
        }
        parts = [
            sa.select(sa.literal(field), key, number).where(key.in_(ids)).group_by(key)
            for field, (key, number) in counted.items()
        ]
        for field, id, value in await connection.execute(sa.union_all(*parts)):
            found[id][field] = int(value)
        return found

    async def record_usage(self, tx: Transaction, id: str, *, usage_id: str, datapoints: int) -> None:
        """Counts generated values; the same `usage_id` counts once, with its latest number."""
        key = (generator_usage.c.generator_id == id, generator_usage.c.usage_id == usage_id)
        await tx.execute(sa.delete(generator_usage).where(*key))
        values = {"generator_id": id, "usage_id": usage_id, "datapoints": datapoints}
        await tx.execute(sa.insert(generator_usage).values(values))

    async def delete(self, tx: Transaction, id: str) -> None:
        """Deletes a generator and all that was counted for it."""
        await tx.execute(sa.delete(generator_usage).where(generator_usage.c.generator_id == id))
        await super().delete(tx, id)
