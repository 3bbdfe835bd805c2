"""References that this service holds at others for its resources: neither exists without the other.

A reference and the row that it is for are in two databases. So an intention to release is stored before a
reference is made, and withdrawn in the transaction that adds the row; a process killed in between leaves an
intention that is carried out later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

import sqlalchemy as sa

from simulacra.errors import ResourceNotFound, SimulacraError
from simulacra.logs import get_logger
from simulacra.store.database import Database, Transaction, utc_now
from simulacra.store.types import UtcDateTime

__all__ = ["HeldReferences", "release_table"]

_GIVEN_UP_AFTER = timedelta(minutes=5)

_logger = get_logger("simulacra.store")


def release_table(metadata: sa.MetaData, name: str = "releases") -> sa.Table:
    """Describes the table of what is to be released, from `due_at` on; its service's migration creates it."""
    return sa.Table(
        name,
        metadata,
        sa.Column("resource_id", sa.Text, primary_key=True),
        sa.Column("user_uri", sa.Text, primary_key=True),
        sa.Column("due_at", UtcDateTime, nullable=False),
    )


class HeldReferences:
    """What this service's resources use at another service.

    Args:
        database: This service's.
        table: From `release_table`.
        add: Notes a reference at the other service: resource id, user's uri, user's name.
        remove: Takes it back: resource id, user's uri. Called in nobody's name.
    """

    def __init__(
        self,
        database: Database,
        table: sa.Table,
        *,
        add: Callable[[str, str, str], Awaitable[None]],
        remove: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._database = database
        self._table = table
        self._add = add
        self._remove = remove

    async def take(self, uri: str, name: str, ids: Iterable[str]) -> None:
        """Notes that the resource at `uri` uses others; follow with `keep`, or they are released again."""
        ids = list(ids)
        async with self._database.begin() as tx:
            await self._release_at(tx, uri, ids, _GIVEN_UP_AFTER)
        try:
            for id in ids:
                await self._add(id, uri, name)
        except BaseException:
            await asyncio.shield(self.give_back(uri))
            raise

    async def keep(self, tx: Transaction, uri: str) -> None:
        """Makes what `take` noted permanent, with the transaction that adds the resource."""
        await tx.execute(sa.delete(self._table).where(self._table.c.user_uri == uri))

    async def give_back(self, uri: str) -> None:
        """Takes back what `take` noted, because the resource is not to be."""
        async with self._database.begin() as tx:
            statement = sa.update(self._table).where(self._table.c.user_uri == uri)
            await tx.execute(statement.values(due_at=utc_now()))
        await self.release_due()

    async def release_later(self, tx: Transaction, uri: str, ids: Iterable[str]) -> None:
        """Has the next `release_due` tell that the resource at `uri` no longer uses others."""
        await self._release_at(tx, uri, ids, timedelta(0))

    async def release_due(self) -> None:
        """Releases what is due; what cannot be told now is told at a later call."""
        async with self._database.read() as connection:
            statement = sa.select(self._table).where(self._table.c.due_at <= utc_now())
            due = (await connection.execute(statement)).all()
        for row in due:
            try:
                await self._remove(row.resource_id, row.user_uri)
            except ResourceNotFound:
                pass  # it is gone, and its references with it
            except SimulacraError as error:
                _logger.warning("reference_not_released", id=row.resource_id, error=error.message)
                continue
            async with self._database.begin() as tx:
                await tx.execute(sa.delete(self._table).where(*self._key(row.resource_id, row.user_uri)))

    async def _release_at(self, tx: Transaction, uri: str, ids: Iterable[str], after: timedelta) -> None:
        for id in dict.fromkeys(ids):
            await tx.execute(sa.delete(self._table).where(*self._key(id, uri)))
            values = {"resource_id": id, "user_uri": uri, "due_at": utc_now() + after}
            await tx.execute(sa.insert(self._table).values(values))

    def _key(self, id: str, uri: str) -> tuple[sa.ColumnElement[bool], ...]:
        return self._table.c.resource_id == id, self._table.c.user_uri == uri
