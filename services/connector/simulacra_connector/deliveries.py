"""The journal of deliveries, in the service's own database, as drivers use it from their threads."""

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import sqlalchemy as sa

from simulacra.store import Database, body_hash
from simulacra.store.database import utc_now
from simulacra_connector.store import deliveries
from simulacra_connector.types import Connection

__all__ = ["DeliveryJournal", "Journals"]

_KEPT = timedelta(days=30)
_TIMEOUT = 30.0

T = TypeVar("T")


class Journals:
    """Opens and sweeps journals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, delivery_id: str, connection: Connection) -> "DeliveryJournal":
        """Returns the journal of a delivery to a destination; at another server it is another delivery."""
        key = body_hash({"id": delivery_id, "type": str(connection.type), "config": connection.config})
        return DeliveryJournal(self._database, key, asyncio.get_running_loop())

    async def sweep(self) -> None:
        """Forgets deliveries of long ago."""
        async with self._database.begin() as tx:
            await tx.execute(sa.delete(deliveries).where(deliveries.c.changed_at < utc_now() - _KEPT))


class DeliveryJournal:
    """The journal of one delivery; see `drivers.delivery.Journal`."""

    def __init__(self, database: Database, key: str, loop: asyncio.AbstractEventLoop) -> None:
        self._database, self._loop = database, loop
        self.id = key

    def load(self) -> Mapping[str, Any] | None:
        """Returns the latest note."""
        return self._wait(self._load())

    def save(self, note: Mapping[str, Any]) -> None:
        """Replaces the note."""
        self._wait(self._save(note))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_TIMEOUT)

    async def _load(self) -> Mapping[str, Any] | None:
        async with self._database.read() as connection:
            statement = sa.select(deliveries.c.note).where(deliveries.c.key == self.id)
            found: Mapping[str, Any] | None = (await connection.execute(statement)).scalar_one_or_none()
        return found

    async def _save(self, note: Mapping[str, Any]) -> None:
        values = {"key": self.id, "note": dict(note), "changed_at": utc_now()}
        async with self._database.begin() as tx:
            await tx.execute(sa.delete(deliveries).where(deliveries.c.key == self.id))
            await tx.execute(sa.insert(deliveries).values(values))
