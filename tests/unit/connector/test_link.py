"""What every connection to a database does with the statements that run over it, tried with SQLite."""

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from simulacra.domain import ConnectorType
from simulacra.errors import DeadlineExceeded
from simulacra_connector.drivers.base import Canceled, SessionOptions
from simulacra_connector.drivers.sql import Fault, Link
from simulacra_connector.types import Connection

ENDLESS = "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t) SELECT count(*) FROM t"


class SqliteLink(Link):
    """A database in memory, which is asked to run nothing more once a statement has been stopped."""

    errors = (sqlite3.Error,)

    def __init__(self, options: SessionOptions) -> None:
        super().__init__(Connection(ConnectorType.POSTGRES, {}, {}, {}), options)
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.limits: list[float] = []

    @property
    def where(self) -> str:
        return "memory"

    def cursor(self) -> Any:
        return self._connection.cursor()

    def run(self, cursor: Any, sql: str, parameters: Sequence[Any]) -> None:
        if self.is_stopped:
            raise sqlite3.OperationalError("stopped")
        self.limits.append(self.seconds)
        cursor.execute(sql, parameters)

    def stop(self) -> None:
        self._connection.interrupt()

    def close(self) -> None:
        self._connection.close()

    def fault(self, error: Exception) -> tuple[Fault, str]:
        return Fault.STATEMENT, str(error)


def test_a_statement_ends_in_time_and_cleaning_up_goes_on() -> None:
    link = SqliteLink(SessionOptions(statement_timeout=7))
    link.execute("CREATE TABLE staged (a)", seconds=3)
    with pytest.raises(DeadlineExceeded):
        link.fetch(ENDLESS, seconds=0.1)
    assert link.execute_anyway("DROP TABLE staged")
    assert link.limits == [3, 0.1, 7]
    assert link.fetch("SELECT count(*) FROM sqlite_master") == [(0,)]


def test_cleaning_up_outlives_a_cancellation() -> None:
    options = SessionOptions()
    link = SqliteLink(options)
    link.execute("CREATE TABLE staged (a)")
    threading.Timer(0.2, options.cancellation.cancel).start()
    with pytest.raises(Canceled):
        link.fetch(ENDLESS)
    assert link.execute_anyway("DROP TABLE staged")
    assert not link.execute_anyway("DROP TABLE staged")
