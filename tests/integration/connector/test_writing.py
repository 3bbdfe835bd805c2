"""Tables are written to PostgreSQL whole or not at all, and keep what belonged to the table they replace."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from simulacra.errors import (
    AlreadyExists,
    CorruptUpload,
    InvalidArgument,
    LocationNotFound,
    PermissionDenied,
    SourceUnreachable,
    UnsupportedData,
)
from simulacra.v1 import connector_pb2
from tests.integration.connector.client import Client, struct
from tests.integration.connector.conftest import SourceDatabase

pytestmark = pytest.mark.postgres

DESTINATION = connector_pb2.CONNECTOR_ACCESS_TYPE_DESTINATION


def ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=10_000)
    return bytes(sink.getvalue())


async def messages(
    data: bytes, *, id: str, location: str, overwrite: bool = False
) -> AsyncIterator[connector_pb2.WriteDataRequest]:
    header = connector_pb2.WriteDataHeader(id=id, location=location, overwrite_tables=overwrite)
    yield connector_pb2.WriteDataRequest(header=header)
    for start in range(0, len(data), 1 << 18):
        yield connector_pb2.WriteDataRequest(data=data[start : start + (1 << 18)])


@pytest.fixture
async def warehouse(ada: Client, source: SourceDatabase) -> str:
    return (await ada.create(source.config, access_type=DESTINATION)).id


async def write(
    client: Client, id: str, table: pa.Table, location: str = "public.t", *, overwrite: bool = False
) -> int:
    request = messages(ipc(table), id=id, location=location, overwrite=overwrite)
    return int((await client.connectors.WriteData(request, timeout=60)).rows)


async def test_every_type_round_trips(ada: Client, warehouse: str, source: SourceDatabase) -> None:
    table = pa.table(
        {
            "int": pa.array([2**63 - 1, None]),
            "small": pa.array([1, None], pa.int16()),
            "float": [0.1, float("inf")],
            "bool": [True, None],
            "text": ['a "q"\n,\\', ""],
            "decimal": pa.array([Decimal("12345678901234567890.12"), None], pa.decimal128(38, 2)),
            "binary": [b"\x00\xff", None],
            "date": [datetime.date(2024, 2, 29), None],
            "time": pa.array([datetime.time(1, 2, 3, 4), None]),
            "moment": pa.array([datetime.datetime(2024, 1, 1, 1, 2, 3, 4), None]),
            "instant": pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), None]),
            "list": [["x", None, 'y"{'], None],
            "odd.name %s": ["%s", None],
        }
    )
    assert await write(ada, warehouse, table) == 2
    reader = await ada.create(source.config)
    read = await ada.read(reader.id, "public.t")
    assert read.to_pydict() == table.to_pydict()
    assert read.schema.field("decimal").type == pa.decimal128(38, 2)


async def test_existing_table_is_overwritten_only_when_asked(
    ada: Client, warehouse: str, source: SourceDatabase
) -> None:
    source.run("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
    with pytest.raises(AlreadyExists, match=r"public\.t"):
        await write(ada, warehouse, pa.table({"a": [2]}))
    assert source.fetch("TABLE t") == [(1,)]
    await write(ada, warehouse, pa.table({"a": [2]}), overwrite=True)
    assert source.fetch("TABLE t") == [(2,)]


async def test_overwriting_keeps_types_keys_indexes_and_grants(
    ada: Client, warehouse: str, source: SourceDatabase
) -> None:
    source.run(
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "INSERT INTO parent VALUES (7)",
        "CREATE TABLE t (id smallint CONSTRAINT t_key PRIMARY KEY, mood mood DEFAULT 'sad', doc jsonb, "
        "uid uuid, parent int CONSTRAINT of_parent REFERENCES parent, CONSTRAINT positive CHECK (id > 0))",
        "CREATE INDEX by_mood ON t (mood)",
        "COMMENT ON TABLE t IS 'it''s people'",
        "GRANT SELECT ON t TO PUBLIC",
        "INSERT INTO t (id) VALUES (1)",
        "CREATE TABLE child (t_id smallint CONSTRAINT of_t REFERENCES t)",
        "INSERT INTO child VALUES (1)",
    )
    shape = (
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE 't'::regclass IN (conrelid, confrelid) "
        "UNION SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 't' "
        "UNION SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 't'::regclass AND attnum > 0 "
        "UNION SELECT 'comment', obj_description('t'::regclass) "
        "UNION SELECT 'grants', relacl::text FROM pg_class WHERE oid = 't'::regclass ORDER BY 1, 2"
    )
    before = source.fetch(shape)
    uid = "123e4567-e89b-12d3-a456-426614174000"
    rows = pa.table({"id": [1, 2], "doc": ['{"a": 1}', None], "uid": [uid, None], "parent": [7, None]})
    await write(ada, warehouse, rows, overwrite=True)
    assert source.fetch(shape) == before
    assert source.fetch("SELECT id, mood::text, doc, uid::text, parent FROM t ORDER BY id") == [
        (1, "sad", {"a": 1}, uid, 7),
        (2, "sad", None, None, None),
    ]


async def test_triggers_stay_and_policies_are_not_lost(
    ada: Client, warehouse: str, source: SourceDatabase
) -> None:
    source.run(
        "CREATE TABLE t (id int)",
        "CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$",
        "CREATE TRIGGER halt BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION halt()",
        "CREATE TRIGGER off BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION halt()",
        "ALTER TABLE t DISABLE TRIGGER off",
    )
    triggers = (
        "SELECT tgname, tgenabled::text, pg_get_triggerdef(oid) FROM pg_trigger "
        "WHERE tgrelid = 't'::regclass ORDER BY 1"
    )
    before = source.fetch(triggers)
    await write(ada, warehouse, pa.table({"id": [1]}), overwrite=True)
    assert source.fetch(triggers) == before
    assert len(before) == 2
    source.run("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    with pytest.raises(AlreadyExists, match="row-level security"):
        await write(ada, warehouse, pa.table({"id": [2]}), overwrite=True)
    assert source.fetch("TABLE t") == [(1,)]


async def test_sequences_go_on_after_the_new_rows(
    ada: Client, warehouse: str, source: SourceDatabase
) -> None:
    source.run(
        'CREATE TABLE t (id serial PRIMARY KEY, "Odd.One" int GENERATED ALWAYS AS IDENTITY, x text)',
        "INSERT INTO t (x) VALUES ('old')",
    )
    for _ in range(2):
        await write(ada, warehouse, pa.table({"id": [7, 9], "Odd.One": [70, 90]}), overwrite=True)
        source.run("INSERT INTO t (x) VALUES ('new')")
        assert source.fetch('SELECT id, "Odd.One" FROM t ORDER BY id') == [(7, 70), (9, 90), (10, 91)]
    await write(ada, warehouse, pa.table({"id": pa.array([], pa.int64())}), overwrite=True)
    source.run("INSERT INTO t (x) VALUES ('first')", "DROP TABLE t")
    assert source.fetch("SELECT count(*) FROM pg_class WHERE relkind = 'S' AND relname LIKE 't_%'") == [(0,)]


@pytest.mark.parametrize(
    "rows",
    [
        {"id": [1, 1]},
        {"id": [2]},
        {"id": ["x"]},
        {"id": [-1]},
        {"id": [None]},
        {"unknown": [1]},
    ],
)
async def test_rows_that_break_the_table_change_nothing(
    ada: Client, warehouse: str, source: SourceDatabase, rows: dict[str, Any]
) -> None:
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY CHECK (id > 0))",
        "INSERT INTO t VALUES (1)",
        "CREATE TABLE child (t_id int REFERENCES t)",
        "INSERT INTO child VALUES (1)",
    )
    with pytest.raises((InvalidArgument, UnsupportedData)):
        await write(ada, warehouse, pa.table(rows), overwrite=True)
    assert source.fetch("TABLE t") == [(1,)]
    assert source.fetch("SELECT count(*) FROM pg_class WHERE relname LIKE 'simulacra%'") == [(0,)]


async def test_cut_off_or_wrong_stream_writes_nothing(
    ada: Client, warehouse: str, source: SourceDatabase
) -> None:
    data = ipc(pa.table({"a": range(100_000)}))
    for wrong in (data[:-8], data[: len(data) // 2], b"", b"no arrow at all", data + b"more"):
        with pytest.raises(CorruptUpload):
            await ada.connectors.WriteData(messages(wrong, id=warehouse, location="public.t"), timeout=60)
    assert source.fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


async def test_abandoned_write_rolls_back(ada: Client, warehouse: str, source: SourceDatabase) -> None:
    data = ipc(pa.table({"a": range(100_000)}))
    sent = asyncio.Event()

    async def stalled() -> AsyncIterator[connector_pb2.WriteDataRequest]:
        async for message in messages(data[:-1000], id=warehouse, location="public.t"):
            yield message
        sent.set()
        await asyncio.Event().wait()

    call = asyncio.ensure_future(ada.connectors.WriteData(stalled(), timeout=60))
    await sent.wait()
    call.cancel()
    open_writes = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'simulacra' AND state <> 'idle'"
    )
    async with asyncio.timeout(20):
        while await asyncio.to_thread(source.fetch, open_writes) != [(0,)]:
            pass
    assert source.fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


async def test_server_that_dies_while_writing(ada: Client, warehouse: str, source: SourceDatabase) -> None:
    data = ipc(pa.table({"a": range(100_000)}))

    async def killing() -> AsyncIterator[connector_pb2.WriteDataRequest]:
        count = 0
        async for message in messages(data, id=warehouse, location="public.t"):
            count += 1
            if count == 4:
                kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%'"
                while not await asyncio.to_thread(source.fetch, kill):
                    pass
            yield message

    with pytest.raises(SourceUnreachable):
        await ada.connectors.WriteData(killing(), timeout=60)
    assert source.fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert await write(ada, warehouse, pa.table({"a": [1]})) == 1


async def test_writing_needs_a_destination_and_a_schema(
    ada: Client, warehouse: str, source: SourceDatabase
) -> None:
    reader = await ada.create(source.config)
    with pytest.raises(PermissionDenied, match="SOURCE"):
        await write(ada, reader.id, pa.table({"a": [1]}))
    with pytest.raises(LocationNotFound, match="nowhere"):
        await write(ada, warehouse, pa.table({"a": [1]}), "nowhere.t")
    source.run("CREATE VIEW v AS SELECT 1 AS a")
    with pytest.raises(AlreadyExists, match="no plain table"):
        await write(ada, warehouse, pa.table({"a": [1]}), "public.v", overwrite=True)


async def test_types_that_cannot_be_written_are_named(ada: Client, warehouse: str) -> None:
    for column in (pa.array([{"a": 1}]), pa.array([1], pa.timestamp("ns")), pa.array(["a\0b"])):
        with pytest.raises(UnsupportedData, match='"strange"'):
            await write(ada, warehouse, pa.table({"strange": column}))


async def test_names_that_would_be_cut_are_refused(
    ada: Client, warehouse: str, source: SourceDatabase
) -> None:
    long = "n" * 64
    with pytest.raises(UnsupportedData, match=f'"{long}" has 64 bytes'):
        await write(ada, warehouse, pa.table({long: [1]}))
    with pytest.raises(UnsupportedData, match="64 bytes"):
        await write(ada, warehouse, pa.table({"a": [1]}), f"public.{long}")


async def test_secrets_of_a_destination_are_never_returned(ada: Client, source: SourceDatabase) -> None:
    made = await ada.create(source.config, access_type=DESTINATION, secrets={"password": "planted-password"})
    update = connector_pb2.UpdateConnectorRequest(id=made.id, config=struct(source.config))
    assert "planted-password" not in str(made) + str(await ada.connectors.UpdateConnector(update))
