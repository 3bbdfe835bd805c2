"""Hive through the service, against Spark's HiveServer2, and what can be known without one."""

import asyncio
import base64
import datetime
import time
import uuid
from contextlib import closing
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from simulacra.errors import (
    AlreadyExists,
    DriverMissing,
    InvalidArgument,
    LocationNotFound,
    PermissionDenied,
    SimulacraError,
    SourceUnreachable,
    UnsupportedData,
)
from simulacra.v1 import connector_pb2
from tests.hive import HiveServer, hive_server
from tests.integration.connector.client import Client
from tests.integration.connector.test_writing import DESTINATION, write

__all__ = ["hive_server"]

HIVE = connector_pb2.CONNECTOR_TYPE_HIVE
KERBEROS = {
    "host": "127.0.0.1",
    "port": 1,
    "kerberosEnabled": True,
    "kerberosServicePrincipal": "hive/host@REALM",
    "kerberosKrb5Conf": "[libdefaults]",
}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"port": 1}, SourceUnreachable),
        ({"port": 1, "sslEnabled": True}, SourceUnreachable),
        ({"host": "169.254.169.254"}, PermissionDenied),
        ({"host": "a b"}, InvalidArgument),
    ],
)
async def test_connection_that_cannot_be_made(
    ada: Client, change: dict[str, Any], error: type[SimulacraError]
) -> None:
    config = {"host": "127.0.0.1", "username": "reader"} | change
    with pytest.raises(error) as caught:
        await ada.create(config, type=HIVE, secrets={"password": "planted-password"})
    assert "planted-password" not in caught.value.message


async def test_kerberos_wants_its_fields_and_its_library(ada: Client) -> None:
    incomplete = {name: value for name, value in KERBEROS.items() if name != "kerberosKrb5Conf"}
    with pytest.raises(InvalidArgument, match="kerberosKrb5Conf"):
        await ada.create(incomplete, type=HIVE, secrets={"kerberosKeytab": "BQI="})
    keytab = base64.b64encode(b"\x05\x02planted-keytab").decode()
    with pytest.raises((DriverMissing, InvalidArgument, SourceUnreachable)) as caught:
        await ada.create(KERBEROS, type=HIVE, secrets={"kerberosKeytab": keytab})
    assert keytab not in caught.value.message


async def test_kerberos_servers_are_in_no_denied_network(ada: Client) -> None:
    config = KERBEROS | {"kerberosKrb5Conf": "[realms]\nR = {\nkdc = 169.254.169.254:80\n}"}
    with pytest.raises(PermissionDenied, match=r"169\.254\.169\.254"):
        await ada.create(config, type=HIVE, secrets={"kerberosKeytab": "BQI="})


class Shop:
    """A database of its own on the server."""

    def __init__(self, server: HiveServer) -> None:
        self.name = f"shop_{uuid.uuid4().hex[:8]}"
        self.config = {"host": "127.0.0.1", "port": server.port, "username": "reader"}
        self._server = server
        self.fetch(f"CREATE DATABASE {self.name}")

    def fetch(self, *statements: str) -> list[Any]:
        import impala.dbapi

        rows: list[Any] = []
        opened = impala.dbapi.connect(
            host="127.0.0.1", port=self._server.port, auth_mechanism="PLAIN", user="u", password="p"
        )
        with closing(opened) as connection:
            for statement in statements:
                with closing(connection.cursor()) as cursor:
                    cursor.execute(statement.replace("{}", self.name))
                    rows = cursor.fetchall() if statement.startswith(("SELECT", "SHOW")) else []
        return rows


@pytest.fixture
def shop(hive_server: HiveServer) -> Shop:
    return Shop(hive_server)


async def connector(client: Client, shop: Shop, **fields: Any) -> str:
    made = await client.create(shop.config, type=HIVE, secrets={"password": "p"}, **fields)
    return made.id


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_reading(ada: Client, shop: Shop) -> None:
    shop.fetch(
        "CREATE TABLE {}.t (i INT, l BIGINT, f FLOAT, d DOUBLE, n DECIMAL(38, 10), o BOOLEAN, x STRING, "
        "day DATE, m TIMESTAMP, b BINARY) STORED AS PARQUET",
        "INSERT INTO {}.t VALUES (-1, 9223372036854775807, CAST(1.5 AS FLOAT), 0.1D, "
        "CAST('1234567890123456789012345678.0123456789' AS DECIMAL(38, 10)), true, 'naïve 中😀', "
        "DATE '2024-02-29', TIMESTAMP '2024-02-29 01:02:03.000004', UNHEX('00FF')), "
        "(2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        "CREATE VIEW {}.v AS SELECT i FROM {}.t",
    )
    id = await connector(ada, shop)
    request = connector_pb2.ListLocationsRequest(id=id, prefix=shop.name)
    assert list((await ada.connectors.ListLocations(request)).locations) == [
        f"{shop.name}.t",
        f"{shop.name}.v",
    ]
    schema = await ada.connectors.GetSchema(connector_pb2.GetSchemaRequest(id=id, location=f"{shop.name}.t"))
    assert (schema.columns[4].original_data_type, schema.total_rows) == ("decimal(38,10)", 2)
    [first, second] = sorted((await ada.read(id, f"{shop.name}.t")).to_pylist(), key=lambda row: row["i"])
    assert list(first.values()) == [
        -1,
        2**63 - 1,
        1.5,
        0.1,
        Decimal("1234567890123456789012345678.0123456789"),
        True,
        "naïve 中😀",
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
        b"\x00\xff",
    ]
    assert list(second.values()) == [2, *[None] * 9]
    assert (await ada.query(id, f"SELECT i + 1 AS j FROM {shop.name}.v WHERE i > 0")).to_pydict() == {
        "j": [3]
    }
    for wrong in (f"DROP TABLE {shop.name}.t", f"SELECT 1) q; DROP TABLE {shop.name}.t; --"):
        with pytest.raises(InvalidArgument):
            await ada.query(id, wrong)
    with pytest.raises(LocationNotFound, match="t"):
        await ada.read(id, f"{shop.name}.nothing")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_cancelled_call_stops_the_server(ada: Client, shop: Shop) -> None:
    id = await connector(ada, shop)
    sql = (
        "SELECT COUNT(*) AS canceled FROM (SELECT EXPLODE(SEQUENCE(1, 100000)) a) x CROSS JOIN "
        "(SELECT EXPLODE(SEQUENCE(1, 1000000)) b) y WHERE a * b % 7 = 1"
    )
    call = ada.connectors.Query(connector_pb2.QueryRequest(id=id, sql=sql))
    reading = asyncio.ensure_future(anext(aiter(call)))
    started = time.monotonic()
    done, _ = await asyncio.wait([reading], timeout=5)
    assert not done
    reading.cancel()
    call.cancel()
    # The only core of the server is free for others again.
    assert (await ada.query(id, "SELECT 1 AS x")).num_rows == 1
    assert time.monotonic() - started < 60


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_writing(ada: Client, shop: Shop) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2**63 - 1]),
            "text": ['it\'s 😀 \\ "q"', None],
            "float": [0.1, None],
            "decimal": pa.array([Decimal("-1.50"), None], pa.decimal128(20, 2)),
            "moment": pa.array([datetime.datetime(2024, 1, 1, 1, 2, 3, 4), None]),
            "date": [datetime.date(2024, 2, 29), None],
            "binary": [b"\x00\xff", None],
        }
    )
    destination = await connector(ada, shop, access_type=DESTINATION)
    location = f"{shop.name}.t"
    assert await write(ada, destination, table, location) == 2
    read = await ada.read(await connector(ada, shop), location)
    assert sorted(read.to_pylist(), key=lambda row: row["id"]) == table.to_pylist()
    with pytest.raises(AlreadyExists):
        await write(ada, destination, table, location)
    await write(ada, destination, table.slice(1), location, overwrite=True)
    with pytest.raises((InvalidArgument, UnsupportedData)):
        await write(ada, destination, pa.table({"id": ["x"]}), location, overwrite=True)
    assert shop.fetch("SELECT id FROM {}.t") == [(2**63 - 1,)]
    assert len(shop.fetch("SHOW TABLES IN {}")) == 1
