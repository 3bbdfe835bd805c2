"""PostgreSQL through the service: a real server, its types, keys, errors, and what must not be possible."""

import asyncio
import datetime
import socket
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from simulacra.errors import (
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
from tests.integration.connector.conftest import Settings, SourceDatabase
from tests.postgres import PostgresServer

pytestmark = pytest.mark.postgres

SCHEMA = connector_pb2.GetSchemaRequest
LOCATIONS = connector_pb2.ListLocationsRequest
PASSWORD = 'p\'l\\a n@t/e d:%? "pw" ä‘ж'


@pytest.fixture
async def crm(ada: Client, source: SourceDatabase) -> str:
    """The id of ada's connector to a database with two tables."""
    source.run(
        'CREATE TABLE "order" (a int, b text, "odd.name" numeric(10, 2), PRIMARY KEY (b, a))',
        "CREATE TABLE line (id bigint PRIMARY KEY, a int NOT NULL, b text NOT NULL, parent bigint "
        "REFERENCES line, "
        'CONSTRAINT of_order FOREIGN KEY (b, a) REFERENCES "order" (b, a))',
        "INSERT INTO \"order\" SELECT i, 'x', i / 4.0 FROM generate_series(1, 10) i",
        'CREATE VIEW orders AS SELECT a, b FROM "order" WHERE a > 5',
        "CREATE SCHEMA sales",
        'CREATE TABLE sales."dotted.table" (x int)',
    )
    return (await ada.create(source.config, name="crm")).id


async def test_locations(ada: Client, crm: str) -> None:
    async def below(prefix: str) -> list[str]:
        answer = await ada.connectors.ListLocations(LOCATIONS(id=crm, prefix=prefix))
        return list(answer.locations)

    assert await below("") == ["public", "sales"]
    assert await below("public") == ["public.line", "public.order", "public.orders"]
    assert await below("public.order") == ["public.order", "public.orders"]
    assert await below("sales") == ['sales."dotted.table"']
    assert await below("nowhere") == []


async def test_schema_has_types_keys_and_rows(ada: Client, crm: str) -> None:
    order = await ada.connectors.GetSchema(SCHEMA(id=crm, location="public.order"))
    assert [(c.name, c.original_data_type, c.nullable) for c in order.columns] == [
        ("a", "integer", False),
        ("b", "text", False),
        ("odd.name", "numeric(10,2)", True),
    ]
    assert list(order.primary_key) == ["b", "a"]
    assert order.total_rows == 10
    line = await ada.connectors.GetSchema(SCHEMA(id=crm, location="public.line"))
    keys = [(list(k.columns), k.referenced_location, list(k.referenced_columns)) for k in line.foreign_keys]
    assert keys == [
        (["parent"], "public.line", ["id"]),
        (["b", "a"], "public.order", ["b", "a"]),
    ]
    dotted = await ada.connectors.GetSchema(SCHEMA(id=crm, location='sales."dotted.table"'))
    assert [c.name for c in dotted.columns] == ["x"]


async def test_wrong_location_and_column_are_named(ada: Client, crm: str) -> None:
    with pytest.raises(LocationNotFound, match=r"public\.orderz.*public\.order"):
        await ada.read(crm, "public.orderz")
    with pytest.raises(InvalidArgument, match=r'"odd_name" is not in table .*did you mean "odd\.name"'):
        await ada.read(crm, "public.order", columns=["odd_name"])


async def test_read_columns_in_the_asked_order(ada: Client, crm: str) -> None:
    table = await ada.read(crm, "public.order", columns=["odd.name", "a"], max_rows=2)
    assert table.to_pydict() == {"odd.name": [Decimal("0.25"), Decimal("0.50")], "a": [1, 2]}


TYPES: list[tuple[str, str, pa.DataType, Any]] = [
    ("bool", "true", pa.bool_(), True),
    ("smallint", "-32768", pa.int16(), -32768),
    ("integer", "2147483647", pa.int32(), 2147483647),
    ("bigint", "9007199254740993", pa.int64(), 9007199254740993),
    ("real", "1.5", pa.float32(), 1.5),
    ("double precision", "'Infinity'", pa.float64(), float("inf")),
    ("numeric(38,3)", "'12345678901234567890123456789012345.678'", pa.decimal128(38, 3),
     Decimal("12345678901234567890123456789012345.678")),
    ("numeric(50,0)", "10000000000000000000000000000000000000001", pa.decimal256(50, 0),
     Decimal(10000000000000000000000000000000000000001)),
    ("numeric", "123.4500", pa.decimal128(7, 4), Decimal("123.4500")),
    ("numeric(2,-3)", "12000", pa.decimal128(5, 0), Decimal(12000)),
    ("money", "'12.34'", pa.decimal128(4, 2), Decimal("12.34")),
    ("text", "'naïve 中'", pa.string(), "naïve 中"),
    ("varchar(9)", "''", pa.string(), ""),
    ("bytea", "'\\x00ff'", pa.binary(), b"\x00\xff"),
    ("date", "'0044-03-15'", pa.date32(), datetime.date(44, 3, 15)),
    ("time", "'12:34:56.000007'", pa.time64("us"), datetime.time(12, 34, 56, 7)),
    ("timetz", "'12:00+02'", pa.string(), "12:00:00+02"),
    ("timestamp", "'2024-02-29 01:02:03.4'", pa.timestamp("us"),
     datetime.datetime(2024, 2, 29, 1, 2, 3, 400000)),
    ("timestamptz", "'2024-07-01 02:00+02'", pa.timestamp("us", "UTC"),
     datetime.datetime(2024, 7, 1, tzinfo=datetime.UTC)),
    ("interval", "'1 year 2 days 3.5 s'", pa.string(), "P1Y2DT3.5S"),
    ("json", "'{\"a\": 1}'", pa.string(), '{"a": 1}'),
    ("jsonb", "'{\"a\":1}'", pa.string(), '{"a": 1}'),
    ("uuid", "'123e4567-e89b-12d3-a456-426614174000'", pa.string(), "123e4567-e89b-12d3-a456-426614174000"),
    ("int[]", "'{1,NULL,3}'", pa.list_(pa.int32()), [1, None, 3]),
    ("text[]", "'{a,\"b,c\"}'", pa.list_(pa.string()), ["a", "b,c"]),
    ("mood", "'glad'", pa.string(), "glad"),
    ("email", "'a@b'", pa.string(), "a@b"),
    ("inet", "'10.0.0.1/8'", pa.string(), "10.0.0.1/8"),
    ("bit(3)", "'101'", pa.string(), "101"),
    ("int4range", "'[1,5)'", pa.string(), "[1,5)"),
    ("oid", "4294967295", pa.int64(), 4294967295),
    ("xml", "'<a/>'", pa.string(), "<a/>"),
]  # fmt: skip


async def test_every_type_comes_without_loss(ada: Client, source: SourceDatabase) -> None:
    columns = ", ".join(f"c{i} {sql_type}" for i, (sql_type, *_) in enumerate(TYPES))
    values = ", ".join(literal for _, literal, *_ in TYPES)
    source.run(
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE DOMAIN email AS varchar(20)",
        f"CREATE TABLE t ({columns})",
        f"INSERT INTO t VALUES ({values})",
        "INSERT INTO t DEFAULT VALUES",
    )
    id = (await ada.create(source.config)).id
    table = await ada.read(id, "public.t")
    read = [(table.schema.field(i).type, *table.column(i).to_pylist()) for i in range(len(TYPES))]
    assert read == [(arrow_type, value, None) for *_, arrow_type, value in TYPES]


@pytest.mark.parametrize(
    ("sql_type", "literal"),
    [
        ("numeric", "'NaN'"),
        ("numeric", "1e80"),
        ("numeric(5,2)", "'NaN'"),
        ("timestamp", "'infinity'"),
        ("timestamptz", "'-infinity'"),
        ("date", "'infinity'"),
        ("int[]", "'{{1,2},{3,4}}'"),
        ("int[]", "'[0:1]={1,2}'"),
    ],
)
async def test_what_cannot_come_without_loss_is_refused_by_name(
    ada: Client, source: SourceDatabase, sql_type: str, literal: str
) -> None:
    source.run(f"CREATE TABLE t (id int, strange {sql_type})", f"INSERT INTO t VALUES (1, {literal})")
    id = (await ada.create(source.config)).id
    with pytest.raises(UnsupportedData, match='"strange"') as caught:
        await ada.read(id, "public.t")
    assert caught.value.metadata["column"] == "strange"
    assert (await ada.read(id, "public.t", columns=["id"])).num_rows == 1


async def test_sample_is_uniform_repeatable_and_of_the_asked_size(
    ada: Client, source: SourceDatabase
) -> None:
    source.run(
        "CREATE TABLE big AS SELECT i AS n FROM generate_series(0, 99999) i", "CREATE VIEW v AS TABLE big"
    )
    id = (await ada.create(source.config)).id
    for location in ("public.big", "public.v"):
        first = (await ada.read(id, location, max_rows=5000, seed=1)).column("n").to_pylist()
        again = (await ada.read(id, location, max_rows=5000, seed=1)).column("n").to_pylist()
        other = (await ada.read(id, location, max_rows=5000, seed=2)).column("n").to_pylist()
        assert len(first) == len(set(first)) == 5000
        assert first == again != other
        # The mean of 5,000 of 0..99,999 has a standard error of 398.
        assert abs(sum(first) / 5000 - 49_999.5) < 5 * 398
    assert (await ada.read(id, "public.big", max_rows=3)).column("n").to_pylist() == [0, 1, 2]
    assert (await ada.read(id, "public.big", max_rows=200_000, seed=1)).num_rows == 100_000


async def test_query_reads(ada: Client, crm: str) -> None:
    with pytest.raises(InvalidArgument, match="sql: gives several columns called 'a'"):
        await ada.query(crm, "SELECT 1 AS a, 2 AS a")
    table = await ada.query(crm, 'SELECT sum(a) AS s, max("odd.name") FROM "order" -- all\n;', max_rows=5)
    assert table.to_pydict() == {"s": [55], "max": ["2.50"]}
    assert (await ada.query(crm, "VALUES (1), (2)", max_rows=1)).num_rows == 1


@pytest.mark.parametrize(
    "sql",
    [
        'DELETE FROM "order"',
        'WITH d AS (DELETE FROM "order" RETURNING *) SELECT * FROM d',
        'SELECT 1) AS q; DELETE FROM "order"; --',
        "SELECT set_config('transaction_read_only', 'off', false)",
        "COMMIT",
        "DROP TABLE line",
        "COPY \"order\" TO PROGRAM 'true'",
        "SELECT nextval('counter')",
        "SELECT evil()",
    ],
)
async def test_query_cannot_write(ada: Client, crm: str, source: SourceDatabase, sql: str) -> None:
    source.run(
        "CREATE SEQUENCE counter",
        "CREATE FUNCTION evil() RETURNS int LANGUAGE sql AS 'DELETE FROM \"order\"; SELECT 1'",
    )
    with pytest.raises((InvalidArgument, PermissionDenied)):
        await ada.query(crm, sql)
    assert source.fetch('SELECT count(*) FROM "order"') == [(10,)]
    assert source.fetch("SELECT is_called FROM counter") == [(False,)]


async def test_runaway_query_is_ended(
    settings: Settings, connect: Callable[..., Client], source: SourceDatabase
) -> None:
    component = await create(settings(statement_timeout=1))
    await component.start()
    try:
        client = connect(component)
        id = (await client.create(source.config)).id
        with pytest.raises(DeadlineExceeded, match="longer than allowed"):
            await client.query(id, "SELECT pg_sleep(30)")
    finally:
        await component.stop()


async def test_cancelled_call_stops_the_server(ada: Client, crm: str, source: SourceDatabase) -> None:
    call = ada.connectors.Query(connector_pb2.QueryRequest(id=crm, sql="SELECT pg_sleep(50) AS canceled"))
    reading = asyncio.ensure_future(anext(aiter(call)))
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(50)%' AND pid <> pg_backend_pid()"
    )
    await until(lambda: source.fetch(running) == [(1,)])
    reading.cancel()
    call.cancel()
    await until(lambda: source.fetch(running) == [(0,)])


async def until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline


async def test_password_with_any_character(ada: Client, source: SourceDatabase, hba: None) -> None:
    quoted = PASSWORD.replace("'", "''")
    source.run(f"CREATE ROLE secretive LOGIN PASSWORD '{quoted}'")
    config = source.config | {"username": "secretive"}
    connector = await ada.create(config, secrets={"password": PASSWORD})
    answer = await ada.connectors.TestConnection(connector_pb2.TestConnectionRequest(id=connector.id))
    assert answer.server_version.startswith("PostgreSQL")
    assert answer.seconds > 0


@pytest.fixture
def hba(postgres_server: PostgresServer, source: SourceDatabase) -> Any:
    """Has the server ask `secretive` for a password."""
    [(path,)] = source.fetch("SHOW hba_file")
    with open(path) as file:
        before = file.read()
    with open(path, "w") as file:
        file.write("host all secretive 127.0.0.1/32 scram-sha-256\n" + before)
    source.run("SELECT pg_reload_conf()")
    yield
    with open(path, "w") as file:
        file.write(before)
    source.run(
        "SELECT pg_reload_conf()",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'secretive'",
        "DROP ROLE IF EXISTS secretive",
    )


async def test_wrong_password_says_so_without_it(ada: Client, source: SourceDatabase, hba: None) -> None:
    source.run("CREATE ROLE secretive LOGIN PASSWORD 'right'")
    config = source.config | {"username": "secretive"}
    with pytest.raises(SourceAuthenticationFailed) as caught:
        await ada.create(config, secrets={"password": PASSWORD})
    assert PASSWORD not in str(caught.value)
    assert "secretive" in caught.value.message
    assert (await ada.connectors.ListConnectors(connector_pb2.ListConnectorsRequest())).total_count == 0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"port": 1}, SourceUnreachable),
        ({"database": "nowhere"}, SourceUnreachable),
        ({"username": "nobody"}, SourceAuthenticationFailed),
        ({"host": "no-such-host.invalid"}, SourceUnreachable),
        ({"host": "/var/run/postgresql"}, InvalidArgument),
        ({"host": "127.0.0.1,10.0.0.1"}, InvalidArgument),
        ({"host": "169.254.169.254"}, PermissionDenied),
        ({"port": 70000}, InvalidArgument),
        ({"sslEnabled": True}, SourceUnreachable),
    ],
)
async def test_connection_that_cannot_be_made(
    ada: Client, source: SourceDatabase, change: dict[str, Any], error: type[SimulacraError]
) -> None:
    with pytest.raises(error):
        await ada.create(source.config | change, secrets={"password": PASSWORD})


async def test_server_that_never_answers(
    settings: Settings, connect: Callable[..., Client], source: SourceDatabase
) -> None:
    component = await create(settings(connect_timeout=2))
    await component.start()
    try:
        # The system takes the connection, and nobody ever answers.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            with pytest.raises(SourceUnreachable, match="timeout"):
                await connect(component).create(source.config | {"port": port})
    finally:
        await component.stop()


async def test_own_networks_can_be_closed(
    settings: Settings, connect: Callable[..., Client], source: SourceDatabase
) -> None:
    component = await create(settings(denied_networks=("127.0.0.0/8", "::1/128")))
    await component.start()
    try:
        for host in ("127.0.0.1", "localhost", "127.1"):
            with pytest.raises(PermissionDenied, match="may not reach"):
                await connect(component).create(source.config | {"host": host})
    finally:
        await component.stop()


async def test_server_that_dies_while_reading(
    ada: Client, source: SourceDatabase, postgres_server: PostgresServer
) -> None:
    source.run("CREATE TABLE big AS SELECT i, repeat('x', 500) AS t FROM generate_series(1, 200000) i")
    id = (await ada.create(source.config)).id
    call = ada.connectors.ReadData(connector_pb2.ReadDataRequest(id=id, location="public.big"))
    chunks = aiter(call)
    await anext(chunks)
    try:
        source.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%'")
        with pytest.raises(SourceUnreachable):
            async for _ in chunks:
                pass
    finally:
        assert (await ada.read(id, "public.big", max_rows=1)).num_rows == 1


async def test_pull_writes_an_artifact_once(
    ada: Client, source: SourceDatabase, component: Any, settings: Settings
) -> None:
    from simulacra.artifacts import ArtifactStore

    source.run("CREATE TABLE t AS SELECT i AS id, 'name ' || i AS name FROM generate_series(1, 300000) i")
    id = (await ada.create(source.config)).id
    events = await ada.pull(id, "training/j/pull-1", "public.t")
    assert [event.rows for event in events] == sorted(event.rows for event in events)
    last = events[-1]
    assert (last.done, last.rows, last.total_rows) == (True, 300_000, 300_000)
    assert len(last.content_sha256) == 64
    assert pa.ipc.read_schema(pa.py_buffer(last.arrow_schema)).names == ["id", "name"]
    artifact = ArtifactStore.from_url(settings().artifacts_url).open("training/j/pull-1")
    assert artifact.table().num_rows == 300_000
    source.run("DROP TABLE t")
    again = await ada.pull(id, "training/j/pull-1", "public.t")
    assert [event.SerializeToString() for event in again] == [last.SerializeToString()]


async def test_same_rows_have_the_same_hash(ada: Client, source: SourceDatabase) -> None:
    source.run("CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i")
    id = (await ada.create(source.config)).id
    first = (await ada.pull(id, "a/1", "public.t"))[-1].content_sha256
    assert (await ada.pull(id, "a/2", "public.t"))[-1].content_sha256 == first
    source.run("UPDATE t SET i = 0 WHERE i = 500")
    assert (await ada.pull(id, "a/3", "public.t"))[-1].content_sha256 != first


async def test_cancelled_pull_leaves_nothing(ada: Client, source: SourceDatabase, settings: Settings) -> None:
    from simulacra.artifacts import ArtifactStore
    from simulacra.v1 import internal_pb2

    source.run("CREATE TABLE t AS SELECT i, repeat('x', 100) t FROM generate_series(1, 1000000) i")
    id = (await ada.create(source.config)).id
    call = ada.internal.PullTable(
        internal_pb2.PullTableRequest(connector_id=id, location="public.t", artifact_name="a/b")
    )
    await anext(aiter(call))
    call.cancel()
    busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'"
    await until(lambda: source.fetch(busy) == [(0,)])
    store = ArtifactStore.from_url(settings().artifacts_url)
    folder = settings().data_dir / "artifacts" / "a" / "b"
    await until(lambda: not any(folder.iterdir()))
    assert not store.exists("a/b")
