"""SQL Server through the service, against a stand-in that speaks its protocol; see `tests.tds`."""

import asyncio
import datetime
import math
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from simulacra.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidArgument,
    LocationNotFound,
    PermissionDenied,
    SimulacraError,
    SourceAuthenticationFailed,
    SourceUnreachable,
    UnsupportedData,
)
from simulacra.v1 import connector_pb2
from simulacra_connector.app import ConnectorComponent, create
from tests.certificates import self_signed
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings
from tests.integration.connector.test_writing import DESTINATION, write
from tests.tds import TdsServer

MSSQL = connector_pb2.CONNECTOR_TYPE_MSSQL
PASSWORD = 'p\'l\\a n@t/e d:%? "pw" ü'


@pytest.fixture
def server() -> Iterator[TdsServer]:
    made = TdsServer(PASSWORD)
    yield made
    made.stop()


@pytest.fixture
async def component(settings: Settings) -> AsyncIterator[ConnectorComponent]:
    made = await create(settings(mssql_tls=False))
    await made.start()
    yield made
    await made.stop()


def config(server: TdsServer) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "username": "reader", "database": "shop"}


async def connector(client: Client, server: TdsServer, **fields: Any) -> str:
    made = await client.create(config(server), type=MSSQL, secrets={"password": PASSWORD}, **fields)
    return made.id


async def test_locations_schema_and_keys(ada: Client, server: TdsServer) -> None:
    server.run(
        "CREATE TABLE dbo.orders (a INT, b VARCHAR, total DECIMAL(10, 2), PRIMARY KEY (b, a))",
        'CREATE TABLE dbo."odd.line" (id BIGINT PRIMARY KEY, a INT, b VARCHAR NOT NULL, '
        "FOREIGN KEY (b, a) REFERENCES dbo.orders (b, a))",
        "CREATE VIEW dbo.recent AS SELECT a FROM dbo.orders",
        "INSERT INTO dbo.orders SELECT i, 'x', i / 4 FROM range(10) t(i)",
    )
    id = await connector(ada, server)

    async def below(prefix: str) -> list[str]:
        request = connector_pb2.ListLocationsRequest(id=id, prefix=prefix)
        return list((await ada.connectors.ListLocations(request)).locations)

    assert "dbo" in await below("")
    assert await below("dbo") == ['dbo."odd.line"', "dbo.orders", "dbo.recent"]
    orders = await ada.connectors.GetSchema(connector_pb2.GetSchemaRequest(id=id, location="dbo.orders"))
    assert [(c.name, c.original_data_type, c.nullable) for c in orders.columns] == [
        ("a", "int", False),
        ("b", "nvarchar(max)", False),
        ("total", "decimal(10,2)", True),
    ]
    assert (list(orders.primary_key), orders.total_rows) == (["b", "a"], 10)
    line = await ada.connectors.GetSchema(connector_pb2.GetSchemaRequest(id=id, location='dbo."odd.line"'))
    [key] = line.foreign_keys
    assert (list(key.columns), key.referenced_location) == (["b", "a"], "dbo.orders")
    answer = await ada.connectors.TestConnection(connector_pb2.TestConnectionRequest(id=id))
    assert answer.server_version == "Microsoft SQL Server 16.0.1 (Stand-in)"
    with pytest.raises(LocationNotFound, match="orders"):
        await ada.read(id, "dbo.nothing")


async def test_types_come_without_loss(ada: Client, server: TdsServer) -> None:
    values: list[tuple[str, str, pa.DataType, Any]] = [
        ("UTINYINT", "255", pa.int16(), 255),
        ("SMALLINT", "-32768", pa.int16(), -32768),
        ("INTEGER", "-2147483648", pa.int32(), -(2**31)),
        ("BIGINT", "9223372036854775807", pa.int64(), 2**63 - 1),
        ("BOOLEAN", "true", pa.bool_(), True),
        ("FLOAT", "1.5", pa.float32(), 1.5),
        ("DOUBLE", "0.1234567890123456789", pa.float64(), 0.1234567890123456789),
        ("DECIMAL(38,10)", "'-1234567890123456789012345678.0123456789'", pa.decimal128(38, 10),
         Decimal("-1234567890123456789012345678.0123456789")),
        ("DATE", "'2024-02-29'", pa.date32(), datetime.date(2024, 2, 29)),
        ("TIME", "'01:02:03.000004'", pa.time64("ns"), datetime.time(1, 2, 3, 4)),
        ("TIMESTAMP", "'9999-12-31 23:59:59.999999'", pa.timestamp("us"),
         datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)),
        ("TIMESTAMPTZ", "'2024-07-01 00:00:00.5+02'", pa.timestamp("us", "UTC"),
         datetime.datetime(2024, 6, 30, 22, 0, 0, 500000, tzinfo=datetime.UTC)),
        ("VARCHAR", "'naïve 中😀'", pa.string(), "naïve 中😀"),
        ("BLOB", r"'\x00\xFF'", pa.binary(), b"\x00\xff"),
        ("UUID", "'123E4567-e89b-12d3-a456-426614174000'", pa.string(),
         "123e4567-e89b-12d3-a456-426614174000"),
    ]  # fmt: skip
    columns = ", ".join(f"c{i} {sql_type}" for i, (sql_type, *_) in enumerate(values))
    server.run(
        f"CREATE TABLE dbo.t ({columns})",
        f"INSERT INTO dbo.t VALUES ({', '.join(value[1] for value in values)})",
        f"INSERT INTO dbo.t VALUES ({', '.join(['NULL'] * len(values))})",
    )
    table = await ada.read(await connector(ada, server), "dbo.t")
    read = [(table.schema.field(i).type, *table.column(i).to_pylist()) for i in range(len(values))]
    assert read == [(arrow_type, value, None) for *_, arrow_type, value in values]


async def test_hundreds_of_nanoseconds_are_kept_or_refused(ada: Client, server: TdsServer) -> None:
    server.run(
        "CREATE TABLE dbo.fine (id INT, moment TIMESTAMP_NS)",
        "INSERT INTO dbo.fine VALUES (1, '2024-01-01 00:00:00.0000001')",
        "CREATE TABLE dbo.strange (id INT, place UNION(a INT))",
        "INSERT INTO dbo.strange VALUES (1, NULL)",
    )
    id = await connector(ada, server)
    read = await ada.read(id, "dbo.fine")
    assert read.schema.field("moment").type == pa.timestamp("ns")
    assert read.column("moment").cast(pa.int64()).to_pylist() == [1_704_067_200_000_000_100]
    with pytest.raises(UnsupportedData, match='"place"'):
        await ada.read(id, "dbo.strange")
    assert (await ada.read(id, "dbo.strange", columns=["id"])).to_pydict() == {"id": [1]}


@pytest.mark.parametrize("keyed", [True, False])
async def test_sample(ada: Client, server: TdsServer, keyed: bool) -> None:
    server.run(
        f"CREATE TABLE dbo.big (n INT {'PRIMARY KEY' if keyed else ''})",
        "INSERT INTO dbo.big SELECT * FROM range(20000)",
    )
    id = await connector(ada, server)
    first = (await ada.read(id, "dbo.big", max_rows=2000, seed=1)).column("n").to_pylist()
    assert len(first) == len(set(first)) == 2000
    assert first == (await ada.read(id, "dbo.big", max_rows=2000, seed=1)).column("n").to_pylist()
    assert abs(sum(first) / 2000 - 9_999.5) < 5 * 130
    assert (await ada.read(id, "dbo.big", max_rows=3)).num_rows == 3
    assert (await ada.read(id, "dbo.big")).num_rows == 20_000


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM dbo.t",
        "SELECT 1 AS a) AS q; DELETE FROM dbo.t; --",
        "SELECT 1 AS a) AS q; COMMIT; DELETE FROM dbo.t; SELECT * FROM (SELECT 1 AS a",
        "SELECT ')' AS a) AS q DELETE FROM dbo.t --",
        "SELECT 1 AS [a]) q; DELETE FROM dbo.t --]",
        "SELECT 1 AS a /* */ */ ) q DELETE FROM dbo.t --",
        "DROP TABLE dbo.t",
        "SELECT 1 AS a INTO dbo.u",
    ],
)
async def test_query_cannot_write(ada: Client, server: TdsServer, sql: str) -> None:
    server.run("CREATE TABLE dbo.t AS SELECT 1 AS a")
    id = await connector(ada, server)
    with pytest.raises((InvalidArgument, PermissionDenied)):
        await ada.query(id, sql)
    assert server.fetch("SELECT count(*) FROM dbo.t") == [(1,)]
    answer = await ada.query(id, "SELECT CAST(1.50 AS decimal(3, 2)) AS x, ')' AS y -- ok)")
    assert answer.to_pydict() == {"x": [Decimal("1.50")], "y": [")"]}


@pytest.mark.parametrize(
    ("change", "password", "error"),
    [
        ({"port": 1}, PASSWORD, SourceUnreachable),
        ({}, "wrong password", SourceAuthenticationFailed),
        ({"host": "a\\b"}, PASSWORD, InvalidArgument),
        ({"host": "169.254.169.254"}, PASSWORD, PermissionDenied),
    ],
)
async def test_connection_that_cannot_be_made(
    ada: Client, server: TdsServer, change: dict[str, Any], password: str, error: type[SimulacraError]
) -> None:
    with pytest.raises(error) as caught:
        await ada.create(config(server) | change, type=MSSQL, secrets={"password": password})
    assert password not in caught.value.message


SLOW = "SELECT CAST(sum(a.i * b.i) AS bigint) AS canceled FROM dbo.numbers a, dbo.numbers b, dbo.numbers c"


async def test_runaway_query_is_ended(
    settings: Settings, connect: Callable[..., Client], server: TdsServer
) -> None:
    server.run("CREATE TABLE dbo.numbers AS SELECT CAST(range AS BIGINT) AS i FROM range(20000)")
    made = await create(settings(statement_timeout=1, mssql_tls=False))
    await made.start()
    try:
        client = connect(made)
        with pytest.raises(DeadlineExceeded):
            await client.query(await connector(client, server), SLOW)
    finally:
        await made.stop()


async def test_cancelled_call_stops_the_server(ada: Client, server: TdsServer) -> None:
    server.run("CREATE TABLE dbo.numbers AS SELECT CAST(range AS BIGINT) AS i FROM range(20000)")
    id = await connector(ada, server)
    call = ada.connectors.Query(connector_pb2.QueryRequest(id=id, sql=SLOW))
    reading = asyncio.ensure_future(anext(aiter(call)))
    deadline = time.monotonic() + 30
    while not any("canceled" in sql and "TOP" not in sql for sql in server.statements) or not server.running:
        assert time.monotonic() < deadline
        await asyncio.sleep(0)
    reading.cancel()
    call.cancel()
    while server.running:
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


async def test_written_table_round_trips(ada: Client, server: TdsServer) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2**63 - 1]),
            "small": pa.array([-3, None], pa.int16()),
            "flag": pa.array([True, None]),
            "text": ['it\'s 😀 \\ "q"', None],
            "empty": ["", None],
            "float": [0.1, None],
            "decimal": pa.array([Decimal("-1.50"), None], pa.decimal128(38, 2)),
            "binary": [b"\x00'\xff", None],
            "moment": pa.array([datetime.datetime(2024, 1, 1, 1, 2, 3, 4), None]),
            "instant": pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), None]),
            "date": [datetime.date(2024, 2, 29), None],
            "odd ]name": ["%s", None],
        }
    )
    destination = await connector(ada, server, access_type=DESTINATION)
    assert await write(ada, destination, table, "dbo.t") == 2
    assert (await ada.read(await connector(ada, server), "dbo.t")).to_pydict() == table.to_pydict()
    with pytest.raises(AlreadyExists):
        await write(ada, destination, table, "dbo.t")
    with pytest.raises(UnsupportedData, match='"nan"'):
        await write(ada, destination, pa.table({"nan": [math.nan]}), "dbo.u")
    with pytest.raises(LocationNotFound, match="nowhere"):
        await write(ada, destination, table, "nowhere.t")
    assert server.fetch("SELECT table_name FROM duckdb_tables()") == [("t",)]


async def test_overwriting_is_all_or_nothing(ada: Client, server: TdsServer) -> None:
    server.run(
        "CREATE TABLE dbo.t (id INT PRIMARY KEY, note VARCHAR DEFAULT 'none')",
        "INSERT INTO dbo.t VALUES (1, 'old')",
        "CREATE VIEW dbo.v AS SELECT 1 AS id",
    )
    destination = await connector(ada, server, access_type=DESTINATION)
    await write(ada, destination, pa.table({"id": range(1, 20_001)}), "dbo.t", overwrite=True)
    assert server.fetch("SELECT count(*), min(note) FROM dbo.t") == [(20_000, "none")]
    for wrong in ({"id": [1, 1]}, {"id": ["x"]}, {"unknown": [1]}):
        with pytest.raises((InvalidArgument, UnsupportedData)):
            await write(ada, destination, pa.table(wrong), "dbo.t", overwrite=True)
        assert server.fetch("SELECT count(*) FROM dbo.t") == [(20_000,)]
    with pytest.raises(AlreadyExists, match="no plain table"):
        await write(ada, destination, pa.table({"id": [1]}), "dbo.v", overwrite=True)
    server.hang_up_after = 1
    with pytest.raises(SourceUnreachable):
        await write(ada, destination, pa.table({"id": range(50_000)}), "dbo.t", overwrite=True)
    server.hang_up_after = None
    assert server.fetch("SELECT count(*) FROM dbo.t") == [(20_000,)]
    assert server.fetch("SELECT table_name FROM duckdb_tables() ORDER BY 1") == [("t",)]


def _certificate(folder: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate that signs itself, and a server's context with it."""
    file, key = self_signed(folder, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context


async def test_tls_is_demanded_and_verified(
    settings: Settings, connect: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, context = _certificate(tmp_path, "localhost")
    other, stranger = _certificate(tmp_path, "other.example")
    both = tmp_path / "both.pem"
    both.write_bytes(trusted.read_bytes() + other.read_bytes())
    made = await create(settings())
    await made.start()
    try:
        client = connect(made)
        for roots, tls, expected in (
            (trusted, context, None),
            (trusted, stranger, SourceUnreachable),  # signed by nobody we know
            (both, stranger, SourceUnreachable),  # signed, but for another host
            (trusted, None, SourceUnreachable),  # in the clear
        ):
            monkeypatch.setenv("SSL_CERT_FILE", str(roots))
            server = TdsServer(PASSWORD, tls=tls)
            parameters = config(server) | {"host": "localhost"}
            creating = client.create(parameters, type=MSSQL, secrets={"password": PASSWORD})
            if expected is None:
                id = (await creating).id
                answer = await client.query(id, "SELECT 'over TLS' AS x")
                assert answer.to_pydict() == {"x": ["over TLS"]}
            else:
                with pytest.raises(expected):
                    await creating
                assert not server.logins
            server.stop()
    finally:
        await made.stop()


async def test_authorities_of_the_operator_are_trusted_too(
    settings: Settings, connect: Callable[..., Client], tmp_path: Path
) -> None:
    trusted, context = _certificate(tmp_path, "localhost")
    made = await create(settings(source_ca_file=trusted))
    await made.start()
    server = TdsServer(PASSWORD, tls=context)
    try:
        parameters = config(server) | {"host": "localhost"}
        id = (await connect(made).create(parameters, type=MSSQL, secrets={"password": PASSWORD})).id
        assert (await connect(made).query(id, "SELECT 1 AS x")).to_pydict() == {"x": [1]}
    finally:
        server.stop()
        await made.stop()
