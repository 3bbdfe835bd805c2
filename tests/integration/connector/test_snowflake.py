"""Snowflake through the service, against fakesnow: the vendor's connector, and Snowflake's SQL on DuckDB."""

import datetime
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from simulacra.errors import (
    AlreadyExists,
    InvalidArgument,
    LocationNotFound,
    SourceUnreachable,
    UnsupportedData,
)
from simulacra.v1 import connector_pb2
from simulacra_connector.app import ConnectorComponent, create
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings
from tests.integration.connector.test_writing import DESTINATION, write
from tests.warehouses import SnowflakeServer, snowflake_server

__all__ = ["snowflake_server"]

SNOWFLAKE = connector_pb2.CONNECTOR_TYPE_SNOWFLAKE


@pytest.fixture
async def component(
    settings: Settings, snowflake_server: SnowflakeServer
) -> AsyncIterator[ConnectorComponent]:
    made = await create(settings(endpoints={"SNOWFLAKE": snowflake_server.url}))
    await made.start()
    yield made
    await made.stop()


class Shop:
    """A database of its own on the server."""

    def __init__(self, server: SnowflakeServer) -> None:
        self.server = server
        self.name = f"SHOP_{uuid.uuid4().hex[:8]}".upper()
        self.config = {"account": "test", "username": "reader", "database": self.name}
        server.fetch(f"CREATE DATABASE {self.name}", f"CREATE SCHEMA {self.name}.S")

    def fetch(self, *statements: str) -> list[Any]:
        return self.server.fetch(f"USE DATABASE {self.name}", *statements)


@pytest.fixture
def shop(snowflake_server: SnowflakeServer) -> Shop:
    return Shop(snowflake_server)


async def connector(client: Client, shop: Shop, **fields: Any) -> str:
    made = await client.create(shop.config, type=SNOWFLAKE, secrets={"password": "p/w'@"}, **fields)
    return made.id


async def test_locations_schema_and_keys(ada: Client, shop: Shop) -> None:
    shop.fetch(
        "CREATE TABLE S.ORDERS (A NUMBER(9, 0), B VARCHAR, TOTAL NUMBER(10, 2), PRIMARY KEY (A, B))",
        'CREATE TABLE S."odd.line" (ID NUMBER(18, 0) PRIMARY KEY)',
        "INSERT INTO S.ORDERS SELECT 1, 'x', 2.5",
    )
    id = await connector(ada, shop)

    async def below(prefix: str) -> list[str]:
        request = connector_pb2.ListLocationsRequest(id=id, prefix=prefix)
        return list((await ada.connectors.ListLocations(request)).locations)

    assert "S" in await below("")
    assert await below("S") == ['S."odd.line"', "S.ORDERS"]
    orders = await ada.connectors.GetSchema(connector_pb2.GetSchemaRequest(id=id, location="S.ORDERS"))
    assert [(c.name, c.original_data_type) for c in orders.columns] == [
        ("A", "NUMBER(9,0)"),
        ("B", "TEXT"),
        ("TOTAL", "NUMBER(10,2)"),
    ]
    assert (sorted(orders.primary_key), orders.total_rows) == (["A", "B"], 1)
    answer = await ada.connectors.TestConnection(connector_pb2.TestConnectionRequest(id=id))
    assert answer.server_version.startswith("Snowflake")
    with pytest.raises(LocationNotFound, match="ORDERS"):
        await ada.read(id, "S.NOTHING")


async def test_types_come_without_loss(ada: Client, shop: Shop) -> None:
    shop.fetch(
        "CREATE TABLE S.T (I NUMBER(9, 0), L NUMBER(18, 0), N NUMBER(38, 10), F FLOAT, D DATE, "
        "M TIMESTAMP_NTZ, T TIME, B BINARY, O BOOLEAN, V VARIANT, X VARCHAR)",
        "INSERT INTO S.T SELECT -1, 123456789012345678, 1234567890123456789012345678.0123456789, 0.5, "
        "'2024-02-29', '2200-12-31 23:59:59.999999', '01:02:03', X'00FF', true, "
        "PARSE_JSON('{\"a\":1}'), 'naïve 中😀'",
        "INSERT INTO S.T (I) SELECT 2",
    )
    read = await ada.read(await connector(ada, shop), "S.T")
    assert [field.type for field in read.schema] == [
        pa.int32(), pa.int64(), pa.decimal128(38, 10), pa.float64(), pa.date32(), pa.timestamp("us"),
        pa.time64("ns"), pa.binary(), pa.bool_(), pa.string(), pa.string(),
    ]  # fmt: skip
    [first, second] = read.to_pylist()
    assert list(first.values()) == [
        -1,
        123456789012345678,
        Decimal("1234567890123456789012345678.0123456789"),
        0.5,
        datetime.date(2024, 2, 29),
        datetime.datetime(2200, 12, 31, 23, 59, 59, 999999),
        datetime.time(1, 2, 3),
        b"\x00\xff",
        True,
        '{"a":1}',
        "naïve 中😀",
    ]
    assert list(second.values()) == [2, *[None] * 10]


async def test_sample_and_rows(ada: Client, shop: Shop) -> None:
    shop.fetch("CREATE TABLE S.BIG AS SELECT SEQ4() AS N FROM TABLE(GENERATOR(ROWCOUNT => 20000))")
    id = await connector(ada, shop)
    first = (await ada.read(id, "S.BIG", max_rows=2000, seed=1)).column("N").to_pylist()
    assert len(first) == 2000
    assert first == (await ada.read(id, "S.BIG", max_rows=2000, seed=1)).column("N").to_pylist()
    assert (await ada.read(id, "S.BIG", max_rows=3)).num_rows == 3
    assert (await ada.read(id, "S.BIG")).num_rows == 20_000


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM S.T", "SELECT 1) AS q; DELETE FROM S.T; --", "DROP TABLE S.T", "SELECT '\\') x; DROP"],
)
async def test_query_cannot_write(ada: Client, shop: Shop, sql: str) -> None:
    shop.fetch("CREATE TABLE S.T AS SELECT 1 AS A")
    id = await connector(ada, shop)
    with pytest.raises(InvalidArgument):
        await ada.query(id, sql)
    assert shop.fetch("SELECT COUNT(*) FROM S.T") == [(1,)]
    answer = await ada.query(id, "SELECT 1.50::NUMBER(3, 2) AS X, 'y' AS Y")
    assert answer.to_pydict() == {"X": [Decimal("1.50")], "Y": ["y"]}


async def test_written_table_round_trips(ada: Client, shop: Shop) -> None:
    table = pa.table(
        {
            "ID": pa.array([1, 2], pa.int32()),
            "text": ['it\'s 😀 "q"', None],
            "float": [0.1, None],
            "decimal": pa.array([Decimal("-1.50"), None], pa.decimal128(38, 2)),
            "moment": pa.array([datetime.datetime(2024, 1, 1, 1, 2, 3, 4), None]),
            "date": [datetime.date(2024, 2, 29), None],
            "flag": [True, None],
        }
    )
    destination = await connector(ada, shop, access_type=DESTINATION)
    assert await write(ada, destination, table, "S.T") == 2
    assert (await ada.read(await connector(ada, shop), "S.T")).to_pydict() == table.to_pydict()
    with pytest.raises(AlreadyExists):
        await write(ada, destination, table, "S.T")
    with pytest.raises(LocationNotFound, match="NOWHERE"):
        await write(ada, destination, table, "NOWHERE.T")
    await write(ada, destination, table.slice(1), "S.T", overwrite=True)
    assert shop.fetch("SELECT ID FROM S.T") == [(2,)]
    for wrong in ({"ID": ["x"]}, {"unknown": [1]}):
        with pytest.raises((InvalidArgument, UnsupportedData)):
            await write(ada, destination, pa.table(wrong), "S.T", overwrite=True)
        assert shop.fetch("SELECT ID FROM S.T") == [(2,)]
    [(tables,)] = shop.fetch("SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'S'")
    assert tables == 1


async def test_connection_that_cannot_be_made(settings: Settings, connect: Any, shop: Shop) -> None:
    made = await create(settings(endpoints={"SNOWFLAKE": "http://localhost:1"}, connect_timeout=1))
    await made.start()
    try:
        client = connect(made)
        with pytest.raises(SourceUnreachable):
            await client.create(shop.config, type=SNOWFLAKE, secrets={"password": "planted-password"})
        with pytest.raises(InvalidArgument, match="account"):
            await client.create(
                shop.config | {"account": "evil.example/"}, type=SNOWFLAKE, secrets={"password": "x"}
            )
    finally:
        await made.stop()
