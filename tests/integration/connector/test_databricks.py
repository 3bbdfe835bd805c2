"""Databricks through the service: the vendor's connector against a stand-in of its Thrift service."""

import asyncio
import datetime
import threading
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from simulacra.errors import (
    AlreadyExists,
    InvalidArgument,
    LocationNotFound,
    SourceAuthenticationFailed,
    SourceUnreachable,
    UnsupportedData,
)
from simulacra.v1 import connector_pb2
from simulacra_connector.app import ConnectorComponent, create
from tests.databricks import DatabricksServer
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings
from tests.integration.connector.test_writing import DESTINATION, write

DATABRICKS = connector_pb2.CONNECTOR_TYPE_DATABRICKS
TOKEN = "planted-token"
CONFIG = {"host": "workspace.example", "httpPath": "/sql/1.0/warehouses/x", "catalog": "shop"}
PRINCIPAL = {"clientId": "app", "tenantId": "tenant"}


@pytest.fixture
def server() -> Iterator[DatabricksServer]:
    made = DatabricksServer(TOKEN)
    made.run("CREATE SCHEMA shop.s")
    yield made
    made.stop()


@pytest.fixture
async def component(settings: Settings, server: DatabricksServer) -> AsyncIterator[ConnectorComponent]:
    made = await create(settings(endpoints={"DATABRICKS": server.url}, connect_timeout=3))
    await made.start()
    yield made
    await made.stop()


async def connector(client: Client, **fields: Any) -> str:
    return (await client.create(CONFIG, type=DATABRICKS, secrets={"accessToken": TOKEN}, **fields)).id


async def test_locations_schema_and_keys(ada: Client, server: DatabricksServer) -> None:
    server.run(
        "CREATE TABLE s.orders (a INT, b VARCHAR, total DECIMAL(10, 2), PRIMARY KEY (b, a))",
        "CREATE VIEW s.recent AS SELECT a FROM s.orders",
        "INSERT INTO s.orders SELECT i, 'x', i / 4 FROM range(10) t(i)",
    )
    id = await connector(ada)

    async def below(prefix: str) -> list[str]:
        request = connector_pb2.ListLocationsRequest(id=id, prefix=prefix)
        return list((await ada.connectors.ListLocations(request)).locations)

    assert "s" in await below("")
    assert await below("s") == ["s.orders", "s.recent"]
    orders = await ada.connectors.GetSchema(connector_pb2.GetSchemaRequest(id=id, location="s.orders"))
    assert [column.name for column in orders.columns] == ["a", "b", "total"]
    assert (list(orders.primary_key), orders.total_rows) == (["b", "a"], 10)
    with pytest.raises(LocationNotFound, match="orders"):
        await ada.read(id, "s.nothing")


async def test_types_come_without_loss(ada: Client, server: DatabricksServer) -> None:
    answer = await ada.query(
        await connector(ada),
        "SELECT CAST(1 AS TINYINT) AS t, 9223372036854775807 AS l, CAST(0.5 AS DOUBLE) AS f, true AS o, "
        "CAST('-12345678901234567890.12' AS DECIMAL(38, 2)) AS n, DATE '2024-02-29' AS d, 'naïve 中😀' AS x",
    )
    assert answer.to_pylist() == [
        {
            "t": 1,
            "l": 2**63 - 1,
            "f": 0.5,
            "o": True,
            "n": Decimal("-12345678901234567890.12"),
            "d": datetime.date(2024, 2, 29),
            "x": "naïve 中😀",
        }
    ]


async def test_service_principal_and_wrong_credentials(ada: Client, server: DatabricksServer) -> None:
    config = CONFIG | PRINCIPAL
    made = await ada.create(config, type=DATABRICKS, secrets={"clientSecret": "app-secret"})
    assert (await ada.query(made.id, "SELECT 1 AS x")).num_rows == 1
    for parameters, secrets in (
        (config, {"clientSecret": "wrong-secret"}),
        (CONFIG, {"accessToken": "wrong-token"}),
    ):
        with pytest.raises(SourceAuthenticationFailed) as caught:
            await ada.create(parameters, type=DATABRICKS, secrets=secrets)
        assert not any(secret in caught.value.message for secret in secrets.values())
    with pytest.raises(InvalidArgument, match="tenantId"):
        await ada.create(
            config | {"tenantId": "a/../b"}, type=DATABRICKS, secrets={"clientSecret": "app-secret"}
        )


@pytest.mark.parametrize(
    "sql", ["DELETE FROM s.t", "SELECT 1) AS q; DELETE FROM s.t; --", "DROP TABLE s.t", "SELECT '\\') x"]
)
async def test_query_cannot_write(ada: Client, server: DatabricksServer, sql: str) -> None:
    server.run("CREATE TABLE s.t AS SELECT 1 AS a")
    id = await connector(ada)
    with pytest.raises(InvalidArgument):
        await ada.query(id, sql)
    assert server.fetch("SELECT count(*) FROM s.t") == [(1,)]


async def test_cancelled_call_cancels_the_operation(ada: Client, server: DatabricksServer) -> None:
    id = await connector(ada)
    server.hold = threading.Event()
    call = ada.connectors.Query(connector_pb2.QueryRequest(id=id, sql="SELECT 1 AS canceled"))
    reading = asyncio.ensure_future(anext(aiter(call)))
    deadline = time.monotonic() + 30
    while not server.waiting:
        assert time.monotonic() < deadline
        await asyncio.sleep(0)
    reading.cancel()
    call.cancel()
    while not server.canceled:
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


async def test_written_table_round_trips(ada: Client, server: DatabricksServer) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2**63 - 1]),
            "text": ['it\'s 😀 "q"', None],
            "float": [0.1, None],
            "decimal": pa.array([Decimal("-1.50"), None], pa.decimal128(20, 2)),
            "date": [datetime.date(2024, 2, 29), None],
            "flag": [True, None],
        }
    )
    destination = await connector(ada, access_type=DESTINATION)
    assert await write(ada, destination, table, "s.t") == 2
    assert server.fetch("SELECT * FROM s.t") == [tuple(row.values()) for row in table.to_pylist()]
    with pytest.raises(AlreadyExists):
        await write(ada, destination, table, "s.t")
    with pytest.raises(LocationNotFound, match="nowhere"):
        await write(ada, destination, table, "nowhere.t")
    with pytest.raises(UnsupportedData, match='"d"'):
        await write(ada, destination, pa.table({"d": [datetime.time(1)]}), "s.u")
    await write(ada, destination, table.slice(1), "s.t", overwrite=True)
    for wrong in ({"id": ["x"]}, {"unknown": [1]}):
        with pytest.raises((InvalidArgument, UnsupportedData)):
            await write(ada, destination, pa.table(wrong), "s.t", overwrite=True)
    assert server.fetch("SELECT id FROM s.t") == [(2**63 - 1,)]
    assert server.fetch("SELECT count(*) FROM duckdb_tables() WHERE database_name = 'shop'") == [(1,)]


async def test_connection_that_cannot_be_made(settings: Settings, connect: Any) -> None:
    made = await create(settings(endpoints={"DATABRICKS": "http://127.0.0.1:1"}, connect_timeout=1))
    await made.start()
    try:
        with pytest.raises(SourceUnreachable):
            await connector(connect(made))
    finally:
        await made.stop()
