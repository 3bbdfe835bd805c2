"""BigQuery through the service: Google's client against a stand-in for the REST API; see `tests.bigquery`."""

import asyncio
import datetime
import threading
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from simulacra.domain import ConnectorType
from simulacra.errors import (
    AlreadyExists,
    InvalidArgument,
    LocationNotFound,
    PermissionDenied,
    SourceUnreachable,
    UnsupportedData,
)
from simulacra.v1 import connector_pb2
from simulacra_connector.app import ConnectorComponent, create
from simulacra_connector.drivers.base import Canceled, SessionOptions
from simulacra_connector.drivers.bigquery.link import BigQueryLink
from simulacra_connector.types import check_connection
from tests.bigquery import BigQueryServer
from tests.certificates import service_account_key
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings
from tests.integration.connector.test_writing import DESTINATION, write

BIGQUERY = connector_pb2.CONNECTOR_TYPE_BIGQUERY
KEY = service_account_key(private_key_id="planted-key", token_uri="http://169.254.169.254/")


@pytest.fixture
def server() -> Iterator[BigQueryServer]:
    made = BigQueryServer()
    made.run("CREATE SCHEMA shop")
    yield made
    made.stop()


@pytest.fixture
async def component(settings: Settings, server: BigQueryServer) -> AsyncIterator[ConnectorComponent]:
    made = await create(settings(endpoints={"BIGQUERY": server.url}))
    await made.start()
    yield made
    await made.stop()


async def connector(client: Client, **fields: Any) -> str:
    return (await client.create({}, type=BIGQUERY, secrets={"keyFile": KEY}, **fields)).id


async def test_locations_schema_and_keys(ada: Client, server: BigQueryServer) -> None:
    server.run(
        "CREATE TABLE shop.orders (a BIGINT, b VARCHAR, total DECIMAL(38, 9), PRIMARY KEY (b, a))",
        "CREATE TABLE shop.lines (id BIGINT PRIMARY KEY, a BIGINT, b VARCHAR, "
        "FOREIGN KEY (b, a) REFERENCES shop.orders (b, a))",
        "CREATE VIEW shop.recent AS SELECT a FROM shop.orders",
        "INSERT INTO shop.orders SELECT i, 'x', i / 4 FROM range(10) t(i)",
    )
    id = await connector(ada)

    async def below(prefix: str) -> list[str]:
        request = connector_pb2.ListLocationsRequest(id=id, prefix=prefix)
        return list((await ada.connectors.ListLocations(request)).locations)

    assert "shop" in await below("")
    assert await below("shop") == ["shop.lines", "shop.orders", "shop.recent"]
    orders = await ada.connectors.GetSchema(connector_pb2.GetSchemaRequest(id=id, location="shop.orders"))
    assert [(c.name, c.original_data_type, c.nullable) for c in orders.columns] == [
        ("a", "INT64", False),
        ("b", "STRING", False),
        ("total", "NUMERIC", True),
    ]
    assert (list(orders.primary_key), orders.total_rows) == (["b", "a"], 10)
    lines = await ada.connectors.GetSchema(connector_pb2.GetSchemaRequest(id=id, location="shop.lines"))
    [key] = lines.foreign_keys
    assert (list(key.columns), key.referenced_location) == (["b", "a"], "shop.orders")
    with pytest.raises(LocationNotFound, match="orders"):
        await ada.read(id, "shop.nothing")


async def test_types_come_without_loss(ada: Client, server: BigQueryServer) -> None:
    server.run(
        "CREATE TABLE shop.t (i BIGINT, f DOUBLE, n DECIMAL(38, 9), o BOOLEAN, d DATE, t TIME, m TIMESTAMP, "
        "z TIMESTAMPTZ, x VARCHAR, b BLOB, l BIGINT[])",
        "INSERT INTO shop.t VALUES (9223372036854775807, 0.1, 12345678901234567890123456789.123456789, true, "
        "'2024-02-29', '01:02:03.000004', '9999-12-31 23:59:59.999999', '2024-07-01 00:00:00.5+02', "
        r"'naïve 中😀', '\x00\xFF', [1, 2])",
        "INSERT INTO shop.t (i) VALUES (2)",
    )
    read = await ada.read(await connector(ada), "shop.t")
    [first, second] = read.to_pylist()
    assert list(first.values()) == [
        2**63 - 1,
        0.1,
        Decimal("12345678901234567890123456789.123456789"),
        True,
        datetime.date(2024, 2, 29),
        datetime.time(1, 2, 3, 4),
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
        datetime.datetime(2024, 6, 30, 22, 0, 0, 500000, tzinfo=datetime.UTC),
        "naïve 中😀",
        b"\x00\xff",
        "[1,2]",
    ]
    assert list(second.values())[:10] == [2, *[None] * 9]


@pytest.mark.parametrize("keyed", [True, False])
async def test_sample_and_one_moment(ada: Client, server: BigQueryServer, keyed: bool) -> None:
    server.run(
        f"CREATE TABLE shop.big (n BIGINT {'PRIMARY KEY' if keyed else ''})",
        "INSERT INTO shop.big SELECT * FROM range(20000)",
    )
    id = await connector(ada)
    first = (await ada.read(id, "shop.big", max_rows=2000, seed=1)).column("n").to_pylist()
    assert len(first) == len(set(first)) == 2000
    assert abs(sum(first) / 2000 - 9_999.5) < 5 * 130
    assert (await ada.read(id, "shop.big")).num_rows == 20_000
    read = [sql for sql in server.statements if "`shop`.`big`" in sql]
    assert read
    assert all("FOR SYSTEM_TIME AS OF TIMESTAMP" in sql for sql in read)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM shop.t WHERE true",
        "SELECT 1) AS q; DELETE FROM shop.t WHERE true; --",
        "DROP TABLE shop.t",
    ],
)
async def test_query_cannot_write(ada: Client, server: BigQueryServer, sql: str) -> None:
    server.run("CREATE TABLE shop.t AS SELECT 1::BIGINT AS a")
    id = await connector(ada)
    with pytest.raises((InvalidArgument, PermissionDenied)):
        await ada.query(id, sql)
    assert server.fetch("SELECT count(*) FROM shop.t") == [(1,)]
    assert (await ada.query(id, "SELECT 'y' AS y, a FROM shop.t")).to_pydict() == {"y": ["y"], "a": [1]}


async def test_cancelled_call_cancels_the_job(ada: Client, server: BigQueryServer) -> None:
    id = await connector(ada)
    server.hold = threading.Event()
    call = ada.connectors.Query(connector_pb2.QueryRequest(id=id, sql="SELECT 1 AS canceled"))
    reading = asyncio.ensure_future(anext(aiter(call)))
    deadline = time.monotonic() + 30
    while not any(job["status"]["state"] == "RUNNING" for job in server.jobs.values()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0)
    reading.cancel()
    call.cancel()
    while not server.canceled:
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


def test_a_job_is_canceled_too_when_it_was_on_its_way(server: BigQueryServer) -> None:
    options = SessionOptions(endpoints={"BIGQUERY": server.url})
    connection = check_connection(ConnectorType.BIGQUERY, config=None, secrets={"keyFile": KEY}, ssl=None)
    link = BigQueryLink(connection, options)
    server.hold = threading.Event()

    def canceled_before_it_is_followed() -> None:
        with link.bounded(60), link.translated():
            job = link.start("SELECT 1")
            options.cancellation.cancel()
            link.follow(job)

    with pytest.raises(Canceled):
        canceled_before_it_is_followed()
    assert len(server.canceled) == 1
    link.close()


async def test_written_table_round_trips(ada: Client, server: BigQueryServer) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2**63 - 1]),
            "text": ['it\'s 😀 "q"', None],
            "float": [0.1, float("inf")],
            "decimal": pa.array([Decimal("-1.50"), None], pa.decimal128(20, 2)),
            "binary": [b"\x00'\xff", None],
            "moment": pa.array([datetime.datetime(2024, 1, 1, 1, 2, 3, 4), None]),
            "instant": pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), None]),
            "date": [datetime.date(2024, 2, 29), None],
            "flag": [True, None],
        }
    )
    destination = await connector(ada, access_type=DESTINATION)
    assert await write(ada, destination, table, "shop.t") == 2
    assert (await ada.read(await connector(ada), "shop.t")).to_pydict() == table.to_pydict()
    with pytest.raises(AlreadyExists):
        await write(ada, destination, table, "shop.t")
    with pytest.raises(LocationNotFound, match="nowhere"):
        await write(ada, destination, table, "nowhere.t")
    with pytest.raises(UnsupportedData, match='"d"'):
        await write(ada, destination, pa.table({"d": pa.array([1], pa.decimal256(70, 2))}), "shop.u")
    await write(ada, destination, table.slice(1), "shop.t", overwrite=True)
    for wrong in ({"id": ["x"]}, {"unknown": [1]}):
        with pytest.raises((InvalidArgument, UnsupportedData, SourceUnreachable)):
            await write(ada, destination, pa.table(wrong), "shop.t", overwrite=True)
    server.fail_loads = True
    with pytest.raises(SourceUnreachable):
        await write(ada, destination, table, "shop.t", overwrite=True)
    assert server.fetch("SELECT id FROM shop.t") == [(2**63 - 1,)]
    assert server.fetch("SELECT count(*) FROM duckdb_tables()") == [(1,)]


async def test_connection_that_cannot_be_made(settings: Settings, connect: Any, ada: Client) -> None:
    with pytest.raises(InvalidArgument, match="keyFile") as caught:
        await ada.create({}, type=BIGQUERY, secrets={"keyFile": "planted-key"})
    assert "planted-key" not in caught.value.message
    made = await create(settings(endpoints={"BIGQUERY": "http://127.0.0.1:1"}, connect_timeout=1))
    await made.start()
    try:
        with pytest.raises(SourceUnreachable):
            await connector(connect(made))
    finally:
        await made.stop()
