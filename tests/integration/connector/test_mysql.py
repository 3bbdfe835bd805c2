"""MySQL and MariaDB through the service, against a real MariaDB server."""

import asyncio
import datetime
import math
import tempfile
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
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
from simulacra_connector.app import create
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings
from tests.integration.connector.test_writing import DESTINATION, write
from tests.mariadb import MariaDbServer

MARIADB = connector_pb2.CONNECTOR_TYPE_MARIADB
PASSWORD = 'p\'l\\a n@t/e d:%? "pw" ä‘ж'


class Shop:
    """A database of its own on the server, and a user with a hard password."""

    def __init__(self, server: MariaDbServer) -> None:
        self.server = server
        self.name = f"shop_{uuid.uuid4().hex[:8]}"
        self.config = {"host": "127.0.0.1", "port": server.port, "username": self.name}
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        server.run(
            f"CREATE DATABASE {self.name} CHARACTER SET utf8mb4",
            f"CREATE USER {self.name}@'127.0.0.1' IDENTIFIED BY '{quoted}'",
            f"GRANT ALL ON {self.name}.* TO {self.name}@'127.0.0.1'",
        )

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.server.fetch(statement.replace("{}", self.name))

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.fetch(statement.replace("{}", self.name))


@pytest.fixture
def shop(mariadb_server: MariaDbServer) -> Shop:
    return Shop(mariadb_server)


async def connector(client: Client, shop: Shop, **fields: Any) -> str:
    made = await client.create(shop.config, type=MARIADB, secrets={"password": PASSWORD}, **fields)
    return made.id


async def test_locations_schema_and_keys(ada: Client, shop: Shop) -> None:
    shop.run(
        "CREATE TABLE {}.orders (a INT, b VARCHAR(9), total DECIMAL(10,2), PRIMARY KEY (b, a))",
        "CREATE TABLE {}.`odd.line` (id BIGINT UNSIGNED PRIMARY KEY, a INT, b VARCHAR(9) NOT NULL, "
        "CONSTRAINT of_order FOREIGN KEY (b, a) REFERENCES {}.orders (b, a))",
        "CREATE VIEW {}.recent AS SELECT a FROM {}.orders",
        "INSERT INTO {}.orders SELECT seq, 'x', seq / 4 FROM {}.seq_1_to_10",
    )
    id = await connector(ada, shop)

    async def below(prefix: str) -> list[str]:
        request = connector_pb2.ListLocationsRequest(id=id, prefix=prefix)
        return list((await ada.connectors.ListLocations(request)).locations)

    assert shop.name in await below("")
    assert "mysql" not in await below("")
    assert await below(shop.name) == [f'{shop.name}."odd.line"', f"{shop.name}.orders", f"{shop.name}.recent"]
    orders = await ada.connectors.GetSchema(
        connector_pb2.GetSchemaRequest(id=id, location=f"{shop.name}.orders")
    )
    assert [(c.name, c.original_data_type, c.nullable) for c in orders.columns] == [
        ("a", "int(11)", False),
        ("b", "varchar(9)", False),
        ("total", "decimal(10,2)", True),
    ]
    assert (list(orders.primary_key), orders.total_rows) == (["b", "a"], 10)
    line = await ada.connectors.GetSchema(
        connector_pb2.GetSchemaRequest(id=id, location=f'{shop.name}."odd.line"')
    )
    [key] = line.foreign_keys
    assert (list(key.columns), key.referenced_location) == (["b", "a"], f"{shop.name}.orders")
    answer = await ada.connectors.TestConnection(connector_pb2.TestConnectionRequest(id=id))
    assert "MariaDB" in answer.server_version
    with pytest.raises(LocationNotFound, match="orders"):
        await ada.read(id, f"{shop.name}.nothing")


TYPES: list[tuple[str, str, pa.DataType, Any]] = [
    ("TINYINT", "-128", pa.int8(), -128),
    ("TINYINT UNSIGNED", "255", pa.int16(), 255),
    ("SMALLINT UNSIGNED", "65535", pa.int32(), 65535),
    ("MEDIUMINT", "-8388608", pa.int32(), -8388608),
    ("INT UNSIGNED", "4294967295", pa.int64(), 4294967295),
    ("BIGINT", "-9223372036854775808", pa.int64(), -(2**63)),
    ("BIGINT UNSIGNED", "18446744073709551615", pa.uint64(), 2**64 - 1),
    ("FLOAT", "1.2345678", pa.float32(), 1.2345677614212036),
    ("DOUBLE", "0.1234567890123456789", pa.float64(), 0.1234567890123456789),
    ("DECIMAL(30,10)", "'12345678901234567890.0123456789'", pa.decimal128(30, 10),
     Decimal("12345678901234567890.0123456789")),
    ("DECIMAL(65,0)", "1" + "0" * 64, pa.decimal256(65, 0), Decimal(10) ** 64),
    ("DECIMAL(5,2) UNSIGNED", "999.99", pa.decimal128(5, 2), Decimal("999.99")),
    ("BIT(10)", "b'1010101010'", pa.uint64(), 682),
    ("YEAR", "2024", pa.int16(), 2024),
    ("DATE", "'2024-02-29'", pa.date32(), datetime.date(2024, 2, 29)),
    ("DATETIME(6)", "'2024-02-29 01:02:03.000004'", pa.timestamp("us"),
     datetime.datetime(2024, 2, 29, 1, 2, 3, 4)),
    ("TIMESTAMP(3) NULL", "'2024-07-01 00:00:00.5'", pa.timestamp("us", "UTC"),
     datetime.datetime(2024, 7, 1, 0, 0, 0, 500000, tzinfo=datetime.UTC)),
    ("TIME(3)", "'-838:59:59'", pa.string(), "-838:59:59.000"),
    ("VARCHAR(9)", "'naïve 中😀'", pa.string(), "naïve 中😀"),
    ("LONGTEXT", "''", pa.string(), ""),
    ("VARBINARY(9)", "x'00ff'", pa.binary(), b"\x00\xff"),
    ("LONGBLOB", "'text'", pa.binary(), b"text"),
    ("ENUM('a','b')", "'b'", pa.string(), "b"),
    ("SET('a','b')", "'a,b'", pa.string(), "a,b"),
    ("JSON", "'{\"a\": 1}'", pa.string(), '{"a": 1}'),
    ("UUID", "'123e4567-e89b-12d3-a456-426614174000'", pa.string(), "123e4567-e89b-12d3-a456-426614174000"),
    ("INET6", "'::1'", pa.string(), "::1"),
]  # fmt: skip


async def test_every_type_comes_without_loss(ada: Client, shop: Shop) -> None:
    columns = ", ".join(f"c{i} {sql_type}" for i, (sql_type, *_) in enumerate(TYPES))
    shop.run(
        f"CREATE TABLE {{}}.t ({columns})",
        f"SET time_zone = '+00:00'; INSERT INTO {{}}.t VALUES ({', '.join(t[1] for t in TYPES)})".split("; ")[
            1
        ],
        "INSERT INTO {}.t () VALUES ()",
    )
    table = await ada.read(await connector(ada, shop), f"{shop.name}.t")
    read = [(table.schema.field(i).type, *table.column(i).to_pylist()) for i in range(len(TYPES))]
    assert read == [(arrow_type, value, None) for *_, arrow_type, value in TYPES]


async def test_what_cannot_come_without_loss_is_refused_by_name(ada: Client, shop: Shop) -> None:
    shop.run(
        "CREATE TABLE {}.t (id INT, place POINT)",
        "CREATE TABLE {}.u (id INT, strange DATE)",
        "INSERT INTO {}.t VALUES (1, POINT(1, 2))",
        "INSERT INTO {}.u VALUES (1, '0000-00-00')",
    )
    id = await connector(ada, shop)
    with pytest.raises(UnsupportedData, match='"place"'):
        await ada.read(id, f"{shop.name}.t")
    assert (await ada.read(id, f"{shop.name}.t", columns=["id"])).to_pydict() == {"id": [1]}
    with pytest.raises(UnsupportedData, match='"strange"'):
        await ada.read(id, f"{shop.name}.u")


async def test_cells_of_any_length(ada: Client, shop: Shop, mariadb_server: MariaDbServer) -> None:
    mariadb_server.run("SET GLOBAL max_allowed_packet = 64 * 1024 * 1024")
    lengths = [0, 1, 250, 251, 252, 65535, 65536, 17 * 2**20, 3]
    shop.run("CREATE TABLE {}.long (id int, t longtext, b longblob, n int)")
    for id, length in enumerate(lengths):
        cells = f"{id}, REPEAT('ä', {length}), REPEAT(UNHEX('00ff'), {length}), {id}"
        shop.run(
            f"INSERT INTO {{}}.long VALUES ({cells})",
            f"INSERT INTO {{}}.long VALUES ({id}, NULL, NULL, NULL)",
        )
    read = await ada.read(await connector(ada, shop), f"{shop.name}.long")
    assert read["id"].to_pylist() == [id for id in range(len(lengths)) for _ in range(2)]
    for row, length in enumerate(lengths):
        assert read["t"][2 * row].as_py() == "ä" * length
        assert read["b"][2 * row].as_py() == b"\x00\xff" * length
        assert read.slice(2 * row + 1, 1).to_pylist() == [{"id": row, "t": None, "b": None, "n": None}]


async def test_sample(ada: Client, shop: Shop) -> None:
    shop.run("CREATE TABLE {}.big AS SELECT seq AS n FROM {}.seq_0_to_99999")
    id = await connector(ada, shop)
    location = f"{shop.name}.big"
    first = (await ada.read(id, location, max_rows=5000, seed=1)).column("n").to_pylist()
    assert len(first) == len(set(first)) == 5000
    assert first == (await ada.read(id, location, max_rows=5000, seed=1)).column("n").to_pylist()
    assert abs(sum(first) / 5000 - 49_999.5) < 5 * 408
    assert (await ada.read(id, location, max_rows=3)).num_rows == 3
    assert (await ada.read(id, location)).num_rows == 100_000


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM {}.t",
        "SELECT 1) AS q; DELETE FROM {}.t; --",
        "DROP TABLE {}.t",
        "SELECT {}.evil()",
        "SELECT 1 INTO OUTFILE '{file}'",
        "SELECT 1) AS q UNION SELECT 1 INTO OUTFILE '{file}' FROM (SELECT 2",
        "SELECT 1) AS q UNION ALL SELECT 2 INTO DUMPFILE '{file}' FROM (SELECT 2",
        "SELECT 1) AS query /*! UNION SELECT 1 INTO OUTFILE '{file}' */ FROM (SELECT 2",
        "COMMIT",
    ],
)
async def test_query_cannot_write(ada: Client, shop: Shop, sql: str) -> None:
    file = f"{tempfile.gettempdir()}/simulacra-{shop.name}"
    shop.run(
        "GRANT FILE ON *.* TO {}@'127.0.0.1'",
        "CREATE TABLE {}.t AS SELECT 1 AS a",
        "CREATE FUNCTION {}.evil() RETURNS INT MODIFIES SQL DATA BEGIN DELETE FROM {}.t; RETURN 1; END",
    )
    id = await connector(ada, shop)
    with pytest.raises((InvalidArgument, PermissionDenied)):
        await ada.query(id, sql.replace("{}", shop.name).replace("{file}", file))
    assert shop.fetch(f"SELECT load_file('{file}')") == [(None,)]
    assert shop.fetch("SELECT count(*) FROM {}.t") == [(1,)]
    assert (await ada.query(id, "SELECT 1.50 AS x, 'y' AS y;")).to_pydict() == {
        "x": [Decimal("1.50")],
        "y": ["y"],
    }


@pytest.mark.parametrize(
    ("change", "password", "error"),
    [
        ({"port": 1}, PASSWORD, SourceUnreachable),
        ({}, "wrong password", SourceAuthenticationFailed),
        ({"username": "nobody"}, PASSWORD, SourceAuthenticationFailed),
        ({"host": "/run/mysqld/mysqld.sock"}, PASSWORD, InvalidArgument),
        ({"host": "169.254.169.254"}, PASSWORD, PermissionDenied),
    ],
)
async def test_connection_that_cannot_be_made(
    ada: Client, shop: Shop, change: dict[str, Any], password: str, error: type[SimulacraError]
) -> None:
    with pytest.raises(error) as caught:
        await ada.create(shop.config | change, type=MARIADB, secrets={"password": password})
    assert password not in caught.value.message


async def test_runaway_query_is_ended(settings: Settings, connect: Callable[..., Client], shop: Shop) -> None:
    component = await create(settings(statement_timeout=1))
    await component.start()
    try:
        client = connect(component)
        id = await connector(client, shop)
        with pytest.raises(DeadlineExceeded):
            await client.query(
                id, f"SELECT count(*) FROM {shop.name}.seq_1_to_100000 a, {shop.name}.seq_1_to_1000000 b"
            )
    finally:
        await component.stop()


async def test_cancelled_call_stops_the_server(ada: Client, shop: Shop) -> None:
    id = await connector(ada, shop)
    call = ada.connectors.Query(connector_pb2.QueryRequest(id=id, sql="SELECT SLEEP(50) AS canceled"))
    reading = asyncio.ensure_future(anext(aiter(call)))
    running = (
        "SELECT count(*) FROM information_schema.processlist "
        "WHERE info LIKE '%SLEEP(50)%' AND id <> CONNECTION_ID()"
    )
    deadline = time.monotonic() + 30
    for expected in (1, 0):
        while await asyncio.to_thread(shop.fetch, running) != [(expected,)]:
            assert time.monotonic() < deadline
        reading.cancel()
        call.cancel()


async def test_written_table_round_trips(ada: Client, shop: Shop) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2**63 - 1]),
            "text": ['it\'s 😀 \\ "q"', None],
            "float": [0.1, None],
            "decimal": pa.array([Decimal("1.50"), None], pa.decimal128(38, 2)),
            "binary": [b"\x00'\xff", None],
            "moment": pa.array([datetime.datetime(2024, 1, 1, 1, 2, 3, 4), None]),
            "instant": pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), None]),
            "date": [datetime.date(2024, 2, 29), None],
            "%s odd": ["%s", None],
        }
    )
    destination = await connector(ada, shop, access_type=DESTINATION)
    assert await write(ada, destination, table, f"{shop.name}.t") == 2
    assert (await ada.read(await connector(ada, shop), f"{shop.name}.t")).to_pydict() == table.to_pydict()
    with pytest.raises(AlreadyExists):
        await write(ada, destination, table, f"{shop.name}.t")
    with pytest.raises(UnsupportedData, match='"nan"'):
        await write(ada, destination, pa.table({"nan": [math.nan]}), f"{shop.name}.u")
    assert shop.fetch("SELECT table_name FROM information_schema.tables WHERE table_schema = '{}'") == [
        ("t",)
    ]


async def test_overwriting_keeps_the_table_and_its_relations(ada: Client, shop: Shop) -> None:
    shop.run(
        "CREATE TABLE {}.parent (id INT PRIMARY KEY)",
        "INSERT INTO {}.parent VALUES (7)",
        "CREATE TABLE {}.t (id INT PRIMARY KEY, mood ENUM('sad','glad') DEFAULT 'sad', parent INT, "
        "INDEX by_mood (mood), CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES {}.parent (id))",
        "CREATE TABLE {}.child (t INT, "
        "CONSTRAINT of_t FOREIGN KEY (t) REFERENCES {}.t (id) ON DELETE CASCADE)",
        "INSERT INTO {}.t (id) VALUES (1)",
        "INSERT INTO {}.child VALUES (1)",
    )
    [before] = shop.fetch("SHOW CREATE TABLE {}.t")
    destination = await connector(ada, shop, access_type=DESTINATION)
    location = f"{shop.name}.t"
    rows = pa.table({"id": [1, 2], "parent": [7, None]})
    await write(ada, destination, rows, location, overwrite=True)
    expected = [(1, "sad", 7), (2, "sad", None)]
    assert shop.fetch("SELECT id, mood, parent FROM {}.t ORDER BY id") == expected
    assert shop.fetch("SHOW CREATE TABLE {}.t") == [before]
    assert shop.fetch("SELECT t FROM {}.child") == [(1,)]
    for wrong in ({"id": [2]}, {"id": [1], "parent": [8]}, {"id": [1, 1]}, {"id": ["x"]}, {"unknown": [1]}):
        with pytest.raises(InvalidArgument):
            await write(ada, destination, pa.table(wrong), location, overwrite=True)
        assert shop.fetch("SELECT id, mood, parent FROM {}.t ORDER BY id") == expected
