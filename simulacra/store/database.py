"""One service's database: SQLite in a file, or one schema of a Postgres server.

Write transactions take turns on both. SQLite has a single writer anyway (`BEGIN IMMEDIATE`); on Postgres a
write transaction locks the row of the revision counter before anything else. So revisions become visible in
their order, which lets a reader say "everything after revision n" without missing a row, and two writers
cannot deadlock.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from simulacra.store import migrations
from simulacra.store.faults import mapped_faults
from simulacra.store.sqlite import READ_ONLY, make_sqlite_engine
from simulacra.store.types import UtcDateTime

__all__ = ["Database", "Transaction", "UtcDateTime"]

_BUSY_SECONDS = 10
_CONNECT_SECONDS = 5

_counter = sa.table("revision_counter", sa.column("value", sa.BigInteger))
_READ_COUNTER = sa.select(_counter.c.value)
_LOCK_COUNTER = _READ_COUNTER.with_for_update()
_SET_COUNTER = sa.update(_counter).values(value=sa.bindparam("revision"))


class Transaction:
    """An open write transaction; `connection` runs SQLAlchemy Core statements in it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._revision: int | None = None
        self._bumped = False
        self._callbacks: list[Callable[[], object]] = []

    async def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        """Runs one statement (or one for each of a list of parameters) in this transaction."""
        return await self.connection.execute(statement, parameters)

    async def next_revision(self) -> int:
        """Returns a revision larger than any that a reader has seen; give each changed row its own."""
        if self._revision is None:
            self._revision = int((await self.connection.execute(_READ_COUNTER)).scalar_one())
        self._revision += 1
        self._bumped = True
        return self._revision

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Has `callback` called once the transaction is committed; never if it is not."""
        self._callbacks.append(callback)

    async def _lock(self) -> None:
        self._revision = (await self.connection.execute(_LOCK_COUNTER)).scalar_one()

    async def _flush(self) -> bool:
        if self._bumped:
            await self.connection.execute(_SET_COUNTER, {"revision": self._revision})
        return self._bumped


class Database:
    """A service's database, opened at the first use.

    Args:
        url: `sqlite:///path/to/file.db` or `postgresql://user:password@host/database`.
        schema: The Postgres schema that holds this service's tables; ignored by SQLite, where the file is
            the schema.
    """

    def __init__(self, url: str, *, schema: str | None = None) -> None:
        self.url = _with_driver(url)
        self.schema = schema if self.url.get_backend_name() == "postgresql" else None
        self.engine: AsyncEngine = _make_engine(self.url, self.schema)
        self._turn = asyncio.Lock()
        self._listeners: set[asyncio.Event] = set()

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file rather than a server."""
        return self.url.get_backend_name() == "sqlite"

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        """Opens a write transaction; it commits when the block ends and rolls back when the block raises.

        Raises:
            DatabaseUnavailable: The database does not answer. After a commit that raised, the outcome is
                unknown.
            StorageFull: There is no space left to write to.
        """
        with mapped_faults():
            async with self._turns(), self.engine.connect() as connection, connection.begin():
                tx = Transaction(connection)
                if not self.is_sqlite:
                    await tx._lock()
                yield tx
                bumped = await tx._flush()
        for callback in tx._callbacks:
            callback()
        if bumped:
            for listener in self._listeners:
                listener.set()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Opens a read transaction: one consistent snapshot, which never waits for a writer."""
        with mapped_faults():
            async with self.engine.connect() as connection:
                await connection.execution_options(**{READ_ONLY: True, **self._snapshot_options()})
                async with connection.begin():
                    yield connection

    async def revision(self) -> int:
        """Returns the newest revision that has been committed."""
        async with self.read() as connection:
            return int((await connection.execute(_READ_COUNTER)).scalar_one())

    @contextlib.contextmanager
    def wakeups(self) -> Iterator[asyncio.Event]:
        """Gives an event that is set when this process commits a revision; others' are found by polling."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            yield event
        finally:
            self._listeners.discard(event)

    async def migrate(self, package: str) -> None:
        """Brings the tables up to the newest migration of a service package, such as `simulacra_trainer`."""
        if self.is_sqlite and self.url.database:
            await asyncio.to_thread(Path(self.url.database).parent.mkdir, parents=True, exist_ok=True)
        with mapped_faults():
            async with self._turns(), self.engine.begin() as connection:
                if self.schema is not None:
                    key = f"simulacra.migrate.{self.schema}"
                    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(key))))
                    await connection.execute(sa.schema.CreateSchema(self.schema, if_not_exists=True))
                await connection.run_sync(migrations.upgrade, package)

    async def close(self) -> None:
        """Closes all connections."""
        await self.engine.dispose()

    def _turns(self) -> contextlib.AbstractAsyncContextManager[object]:
        # SQLite's own waiting for the writer is a sleep with unfair retries; tasks of this process queue up
        # instead.
        return self._turn if self.is_sqlite else contextlib.nullcontext()

    def _snapshot_options(self) -> dict[str, str]:
        return {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}


def _with_driver(url: str) -> sa.URL:
    parsed = sa.make_url(url)
    drivers = {
        "sqlite": "sqlite+aiosqlite",
        "postgresql": "postgresql+psycopg",
        "postgres": "postgresql+psycopg",
    }
    backend = parsed.drivername.partition("+")[0]
    if backend not in drivers:
        raise ValueError(
            f"{backend!r} is not a database that Simulacra can keep its state in; use sqlite or postgresql"
        )
    return parsed.set(drivername=drivers[backend])


def _make_engine(url: sa.URL, schema: str | None) -> AsyncEngine:
    if url.get_backend_name() == "sqlite":
        return make_sqlite_engine(
            url, busy_seconds=_BUSY_SECONDS, pool_timeout=_BUSY_SECONDS, json_serializer=_json
        )
    settings = {
        "search_path": f'"{schema}"' if schema else "public",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "30s",
        # A plan that was made for an empty table and kept reads all rows, until the server counts them again.
        "plan_cache_mode": "force_custom_plan",
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return create_async_engine(
        url,
        connect_args={"options": options, "connect_timeout": _CONNECT_SECONDS},
        pool_pre_ping=True,
        pool_timeout=_BUSY_SECONDS,
        json_serializer=_json,
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def wait_briefly(event: asyncio.Event, seconds: float) -> None:
    """Waits until the event is set, at most so long."""
    # Not asyncio.wait_for, which before Python 3.12 swallows a cancellation that comes with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def utc_now() -> datetime:
    """Returns the time now, aware and in UTC."""
    return datetime.now(UTC)
