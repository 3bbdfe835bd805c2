"""Warehouses and buckets whose connections break in the middle of an answer, and how much is read at once."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulacra.domain import ConnectorType
from simulacra.errors import DeadlineExceeded, SourceUnreachable, StorageFull
from simulacra.v1 import connector_pb2
from simulacra_connector.app import create
from simulacra_connector.drivers import open_session
from simulacra_connector.drivers.base import ReadOptions, SessionOptions
from simulacra_connector.drivers.snowflake.link import SnowflakeLink
from simulacra_connector.drivers.sql import Fault
from simulacra_connector.drivers.sql.faults import fault_error
from simulacra_connector.types import Connection, check_connection
from tests.bigquery import BigQueryServer
from tests.buckets import Storage
from tests.certificates import service_account_key
from tests.databricks import DatabricksServer
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings
from tests.tds import TdsServer
from tests.warehouses import SnowflakeServer, snowflake_server

__all__ = ["snowflake_server"]

ROWS = 20_000
PASSWORD = "planted-password"


class Line:
    """A line to a server that breaks once, after so many bytes of an answer; None, it holds."""

    def __init__(self, port: int) -> None:
        self.breaks_after: int | None = None
        self.broken = 0
        self.carried = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else one more connection would be accepted
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        self._end(client, server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        since = 0
        with suppress(OSError):
            while data := server.recv(65536):
                self.carried += len(data)
                since += len(data)
                if self.breaks_after is not None and since > self.breaks_after:
                    self.breaks_after, self.broken = None, self.broken + 1
                    break
                client.sendall(data)
        self._end(client, server)

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def line(port: int) -> Iterator[Line]:
    made = Line(port)
    try:
        yield made
    finally:
        made.close()


@dataclass
class Warehouse:
    """A stand-in with a table of `ROWS` rows, and how a connector reaches it over a line's port."""

    type: str
    port: int
    location: str
    secrets: dict[str, str]
    config: Callable[[int], dict[str, Any]] = lambda _: {}
    options: Callable[[int], dict[str, Any]] = lambda _: {}
    stop: Callable[[], None] = lambda: None

    def connection(self, port: int) -> Connection:
        return check_connection(
            ConnectorType(self.type), config=self.config(port), secrets=self.secrets, ssl=None
        )


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def port_of(address: str) -> int:
    return int(urlsplit(address).port or 0)


def table(name: str, rows: int = ROWS, width: int = 100) -> str:
    """Makes a table in DuckDB's SQL."""
    return f"CREATE TABLE {name} AS SELECT i AS id, repeat('x', {width}) AS x FROM range({rows}) r(i)"


def sql_server(_: Any) -> Warehouse:
    server = TdsServer(PASSWORD)
    server.run(table("dbo.t"))
    return Warehouse(
        "MSSQL",
        server.port,
        "dbo.t",
        {"password": PASSWORD},
        lambda port: {"host": "127.0.0.1", "port": port, "username": "u", "database": "d"},
        lambda _: {"mssql_tls": False},
        server.stop,
    )


def bigquery(_: Any) -> Warehouse:
    server = BigQueryServer()
    server.run("CREATE SCHEMA shop", table("shop.t"))
    return Warehouse(
        "BIGQUERY",
        port_of(server.url),
        "shop.t",
        {"keyFile": service_account_key()},
        options=lambda port: {"endpoints": {"BIGQUERY": url(port)}},
        stop=server.stop,
    )


def databricks(_: Any, **changes: int) -> Warehouse:
    server = DatabricksServer(PASSWORD)
    server.run("CREATE SCHEMA s", table("s.t", **changes))
    return Warehouse(
        "DATABRICKS",
        port_of(server.url),
        "s.t",
        {"accessToken": PASSWORD},
        lambda _: {"host": "127.0.0.1", "httpPath": "/sql", "catalog": "shop"},
        lambda port: {"endpoints": {"DATABRICKS": url(port)}},
        server.stop,
    )


def snowflake(request: pytest.FixtureRequest) -> Warehouse:
    server: SnowflakeServer = request.getfixturevalue("snowflake_server")
    server.fetch(
        "CREATE DATABASE IF NOT EXISTS FAULTS",
        "CREATE SCHEMA IF NOT EXISTS FAULTS.S",
        "CREATE OR REPLACE TABLE FAULTS.S.T AS SELECT SEQ4() AS ID, REPEAT('x', 100) AS X "
        f"FROM TABLE(GENERATOR(ROWCOUNT => {ROWS}))",
    )
    return Warehouse(
        "SNOWFLAKE",
        server.port,
        "S.T",
        {"password": "p"},
        lambda _: {"account": "test", "username": "u", "database": "FAULTS"},
        lambda port: {"endpoints": {"SNOWFLAKE": url(port)}},
    )


def s3(request: pytest.FixtureRequest) -> Warehouse:
    storage: Storage = request.getfixturevalue("s3_storage")
    return Warehouse(
        "S3_STORAGE",
        port_of(storage.config["endpointUrl"]),
        _file(storage),
        storage.secrets,
        lambda port: storage.config | {"endpointUrl": url(port)},
    )


def google(request: pytest.FixtureRequest) -> Warehouse:
    storage: Storage = request.getfixturevalue("google_storage")
    return Warehouse(
        "GOOGLE_CLOUD_STORAGE",
        port_of(storage.settings["google_endpoint"]),
        _file(storage),
        storage.secrets,
        options=lambda port: {"google_endpoint": url(port)},
    )


def _file(storage: Storage) -> str:
    """Puts a file of rows that no compression makes small."""
    generator = np.random.default_rng(1)
    rows = pa.table({"id": range(ROWS), "x": [generator.bytes(50).hex() for _ in range(ROWS)]})
    storage.filesystem.create_dir("faults")
    with storage.filesystem.open_output_stream("faults/t.parquet") as target:
        pq.write_table(rows, target)
    return "faults/t.parquet"


@pytest.fixture(
    params=[sql_server, bigquery, databricks, snowflake, s3, google], ids=lambda make: make.__name__
)
def warehouse(request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    made: Warehouse = request.param(request)
    yield made
    made.stop()


async def test_reading_goes_on_when_the_line_breaks_in_the_middle(
    settings: Settings, connect: Callable[..., Client], warehouse: Warehouse
) -> None:
    with line(warehouse.port) as way:
        component = await create(settings(**warehouse.options(way.port)))
        await component.start()
        try:
            client = connect(component)
            connection = warehouse.connection(way.port)
            made = await client.create(
                connection.config,
                type=connector_pb2.ConnectorType.Value(f"CONNECTOR_TYPE_{warehouse.type}"),
                secrets=connection.secrets,
            )
            way.breaks_after = 200_000
            [*_, last] = await client.pull(made.id, "t/t", warehouse.location)
            assert way.broken == 1
            assert (last.done, last.rows) == (True, ROWS)
        finally:
            await component.stop()


@pytest.mark.parametrize("warehouse", [snowflake], indirect=True)
def test_a_server_that_stays_away_is_not_asked_for_hours(warehouse: Warehouse) -> None:
    with line(warehouse.port) as way:
        options = SessionOptions(connect_timeout=2, **warehouse.options(way.port))
        link = SnowflakeLink(warehouse.connection(way.port), options)
        assert link.fetch("SELECT 1")
        way.close()
        way.breaks_after = 0
        began = time.monotonic()
        with pytest.raises((SourceUnreachable, DeadlineExceeded)):
            link.fetch("SELECT 1", seconds=1)
        link.close()
        assert time.monotonic() - began < 45


@pytest.mark.parametrize("warehouse", [sql_server, bigquery, databricks], indirect=True)
def test_rows_are_taken_piece_by_piece(warehouse: Warehouse) -> None:
    options = SessionOptions(**warehouse.options(warehouse.port))
    with (
        open_session(warehouse.connection(warehouse.port), options) as session,
        session.read(warehouse.location, ReadOptions()) as stream,
    ):
        sizes = [batch.num_rows for batch in stream.batches]
    assert sum(sizes) == ROWS
    assert max(sizes) < ROWS


def test_wide_rows_are_taken_few_at_once() -> None:
    wide = databricks(None, rows=400, width=2**17)
    options = SessionOptions(**wide.options(wide.port))
    with (
        open_session(wide.connection(wide.port), options) as session,
        session.read("s.t", ReadOptions()) as stream,
    ):
        sizes = [batch.nbytes for batch in stream.batches]
    wide.stop()
    assert sum(sizes) > 50 * 2**20
    assert max(sizes) < 9 * 2**20


def test_full_disk_and_lack_of_anything_else_are_told_apart() -> None:
    connection = Connection(ConnectorType.ORACLE, {"username": "u"}, {}, {})
    full = fault_error(Fault.FULL, "ORA-01653", connection=connection, where="h:1")
    assert isinstance(full, StorageFull)
    assert "no space left" in str(full)
    assert isinstance(fault_error(Fault.BUSY, "", connection=connection, where="h:1"), SourceUnreachable)
