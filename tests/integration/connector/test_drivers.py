"""What all drivers on the SQL family have in common: extras, deliveries, statements that stay inside."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pytest

from simulacra.domain import ConnectorType
from simulacra.errors import AlreadyExists, DriverMissing, InvalidArgument, SimulacraError
from simulacra_connector.drivers import open_session, require_driver
from simulacra_connector.drivers.base import SessionOptions, TableStream, WriteMode
from simulacra_connector.drivers.delivery import Delivery, TableToDeliver, deliver
from simulacra_connector.drivers.sql import as_subquery
from simulacra_connector.types import TYPES, check_connection
from tests.bigquery import BigQueryServer
from tests.certificates import service_account_key
from tests.tds import TdsServer


@pytest.mark.parametrize(
    ("type", "package"),
    [
        ("MSSQL", "pytds"),
        ("ORACLE", "oracledb"),
        ("SNOWFLAKE", "snowflake.connector"),
        ("BIGQUERY", "google.cloud.bigquery"),
        ("DATABRICKS", "databricks.sql"),
        ("HIVE", "impala.dbapi"),
    ],
)
def test_missing_package_names_the_extra(type: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = TYPES[ConnectorType(type)]
    assert info.driver is not None
    home = info.driver.partition(":")[0]
    for name in [name for name in sys.modules if name.startswith(home)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    parent, _, child = package.rpartition(".")
    if parent:
        monkeypatch.delattr(sys.modules.get(parent, object()), child, raising=False)
    with pytest.raises(DriverMissing, match=rf"simulacra\[{info.extra}\]"):
        require_driver(type)


class Notes:
    """A delivery's journal."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.note: Mapping[str, Any] | None = None
        self.saved: list[Mapping[str, Any]] = []

    def load(self) -> Mapping[str, Any] | None:
        return self.note

    def save(self, note: Mapping[str, Any]) -> None:
        self.note = json.loads(json.dumps(note))
        self.saved.append(self.note or {})


def tables(**columns: list[Any]) -> list[TableToDeliver]:
    made = []
    for name, values in columns.items():
        table = pa.table({"id": values})
        made.append(
            TableToDeliver(
                name, TableStream(table.schema, iter(table.to_batches()), table.num_rows), primary_key=("id",)
            )
        )
    return made


@pytest.fixture
def sql_server() -> Iterator[TdsServer]:
    made = TdsServer("password")
    yield made
    made.stop()


@pytest.fixture
def bigquery() -> Iterator[BigQueryServer]:
    made = BigQueryServer()
    made.run("CREATE SCHEMA shop")
    yield made
    made.stop()


def test_sql_server_delivers_all_tables_or_none_and_once(sql_server: TdsServer) -> None:
    config = {"host": "127.0.0.1", "port": sql_server.port, "username": "u", "database": "d"}
    connection = check_connection(
        ConnectorType.MSSQL, config=config, secrets={"password": "password"}, ssl=None
    )
    options = SessionOptions(mssql_tls=False)
    notes = Notes("delivery")
    with open_session(connection, options) as session:
        with pytest.raises(SimulacraError):
            list(deliver(session, Delivery("dbo", tables(a=[1], b=[1, 1]), WriteMode.FAIL, notes)))
        assert sql_server.fetch("SELECT count(*) FROM duckdb_tables()") == [(0,)]
        done = list(deliver(session, Delivery("dbo", tables(a=[1], b=[1, 2]), WriteMode.FAIL, notes)))
        assert [(each.location, each.rows) for each in done if each.done] == [("dbo.a", 1), ("dbo.b", 2)]
        # The process was killed after the commit: the tables are there, and the staging tables are not.
        notes.note = next(note for note in reversed(notes.saved) if "publishing" in note)
        again = list(deliver(session, Delivery("dbo", tables(a=[1], b=[1, 2]), WriteMode.FAIL, notes)))
        assert [(each.table_name, each.rows) for each in again if each.done] == [("a", 1), ("b", 2)]
        assert sql_server.fetch("SELECT count(*) FROM dbo.b") == [(2,)]
        with pytest.raises(AlreadyExists):
            list(deliver(session, Delivery("dbo", tables(a=[3]), WriteMode.FAIL, Notes("another"))))
        list(deliver(session, Delivery("dbo", tables(a=[3]), WriteMode.APPEND, Notes("more"))))
        assert sql_server.fetch("SELECT id FROM dbo.a ORDER BY id") == [(1,), (3,)]


def test_bigquery_runs_a_load_job_once(bigquery: BigQueryServer) -> None:
    connection = check_connection(
        ConnectorType.BIGQUERY, config={}, secrets={"keyFile": service_account_key()}, ssl=None
    )
    bigquery.run("CREATE TABLE shop.a (id BIGINT)")
    notes = Notes("delivery")
    with open_session(connection, SessionOptions(endpoints={"BIGQUERY": bigquery.url})) as session:
        bigquery.fail_loads = True
        with pytest.raises(SimulacraError):
            list(deliver(session, Delivery("shop", tables(a=[1]), WriteMode.APPEND, notes)))
        bigquery.fail_loads = False
        list(deliver(session, Delivery("shop", tables(a=[1]), WriteMode.APPEND, notes)))
        # Killed before it could note that the job has ended: the job's id tells.
        second = Notes("second")
        list(deliver(session, Delivery("shop", tables(a=[2]), WriteMode.APPEND, second)))
        second.note = next(note for note in reversed(second.saved) if "publishing" in note)
        list(deliver(session, Delivery("shop", tables(a=[2]), WriteMode.APPEND, second)))
        assert bigquery.fetch("SELECT id FROM shop.a ORDER BY id") == [(1,), (2,)]


@pytest.mark.parametrize(
    "statement",
    ["SELECT 1", "SELECT '(' AS x", 'SELECT 1 AS ")"', "SELECT 1 -- ;)", "SELECT 1 /* ) */", "SELECT (1);  "],
)
def test_statement_in_a_subquery(statement: str) -> None:
    assert as_subquery(statement, quotes="'\"").startswith("(\nSELECT")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1)",
        "SELECT (1",
        "SELECT 1; SELECT 2",
        "SELECT 'x",
        "SELECT 1 /*",
        "SELECT 1 /* /* */ )",
        ") x (",
    ],
)
def test_statement_that_would_break_out(statement: str) -> None:
    with pytest.raises(InvalidArgument, match="sql"):
        as_subquery(statement, quotes="'\"")
