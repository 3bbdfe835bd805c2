"""How services use SQLite: in a thread beside the event loop, with one hop to it per statement.

aiosqlite itself makes four (cursor, execute, fetch, close), each of which wakes a thread and the loop again.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

__all__ = ["READ_ONLY", "make_sqlite_engine"]

READ_ONLY = "simulacra_read_only"
"""The execution option of connections that only read."""

_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON")


def make_sqlite_engine(url: sa.URL, *, busy_seconds: float, **options: Any) -> AsyncEngine:
    """Makes an engine whose transactions begin as readers, or as the one writer, as their connection says."""
    engine = create_async_engine(
        url,
        connect_args={
            "timeout": busy_seconds,
            "factory": _FileConnection,
            "check_same_thread": False,  # cursors are made in the loop's thread and used in the connection's
            "async_creator_fn": _connect,
        },
        pool_reset_on_return=None,  # transactions are only used as blocks, which end them
        **options,
    )
    sa.event.listen(engine.sync_engine, "connect", _prepare)
    sa.event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _connect(database: str, **options: Any) -> "_Connection":
    connection = _Connection(lambda: sqlite3.connect(database, **options), iter_chunk_size=64)
    connection._thread.daemon = True
    return connection


class _FileConnection(sqlite3.Connection):
    """Gives the write lock back when it is closed.

    SQLite defers that while a cursor is still referenced, as by the traceback of a cancelled call.
    """

    def close(self) -> None:
        if self.in_transaction:
            self.rollback()
        super().close()


class _Connection(aiosqlite.Connection):
    """A connection whose cursors fetch all rows with the statement."""

    def cursor(self) -> "_Cursor":  # type: ignore[override]
        return _Cursor(self, self._conn.cursor())


class _Cursor(aiosqlite.Cursor):
    """Executes and fetches in one hop; what it is asked for later is there already."""

    def __init__(self, connection: aiosqlite.Connection, cursor: sqlite3.Cursor) -> None:
        super().__init__(connection, cursor)
        self._rows: list[Any] = []
        self._is_busy = False

    async def __aenter__(self) -> "_Cursor":
        return self

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> "_Cursor":
        self._is_busy = True
        self._rows = await self._execute(self._execute_and_fetch, sql, parameters or ())  # type: ignore[no-untyped-call]
        self._is_busy = False
        return self

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        if not self._is_busy:  # else its call was cancelled, and its connection will be closed
            self._cursor.close()

    def _execute_and_fetch(self, sql: str, parameters: Iterable[Any]) -> list[Any]:
        self._cursor.execute(sql, parameters)  # type: ignore[arg-type]
        return self._cursor.fetchall() if self._cursor.description is not None else []
