"""Sources and destinations that die, fill up or change under way: clear errors, nothing half done, once."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pyarrow as pa
import pymysql
import pytest

from simulacra.artifacts import ArtifactStore
from simulacra.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidArgument,
    LocationNotFound,
)
from simulacra.v1 import connector_pb2, internal_pb2
from simulacra_connector.app import ConnectorComponent, create
from simulacra_connector.drivers.base import TableStream, WriteMode
from simulacra_connector.drivers.delivery import TableToDeliver
from simulacra_connector.drivers.mysql.writing import TableWriter, Target
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings, SourceDatabase
from tests.mariadb import MariaDbServer

DESTINATION = connector_pb2.CONNECTOR_ACCESS_TYPE_DESTINATION
ROWS = 300_000


@pytest.fixture
def artifacts(component: ConnectorComponent, settings: Settings) -> ArtifactStore:
    """The artifacts, with the tables `t/parent` and `t/child`."""
    store = ArtifactStore.from_url(settings().artifacts_url)
    store.write_table("t/parent", pa.table({"id": range(1000), "x": ["x"] * 1000}))
    child = {"id": range(ROWS), "parent": [i % 1000 for i in range(ROWS)], "text": ["some text"] * ROWS}
    store.write_table("t/child", pa.table(child))
    return store


def delivery(id: str, location: str = "public", **changes: Any) -> internal_pb2.DeliverTablesRequest:
    key = internal_pb2.DeliverForeignKey(
        columns=["parent"], referenced_table="parent", referenced_columns=["id"]
    )
    tables = [
        internal_pb2.DeliverTable(name="parent", artifact_name="t/parent", primary_key=["id"]),
        internal_pb2.DeliverTable(
            name="child", artifact_name="t/child", primary_key=["id"], foreign_keys=[key]
        ),
    ]
    values = {"delivery_id": "one", **changes}
    return internal_pb2.DeliverTablesRequest(connector_id=id, location=location, tables=tables, **values)


async def deliver(client: Client, request: internal_pb2.DeliverTablesRequest) -> dict[str, int]:
    """Returns the rows of the tables that are done."""
    return {e.table_name: e.rows async for e in client.internal.DeliverTables(request) if e.done}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(condition):
            pass


def copying(database: SourceDatabase) -> bool:
    """Tells whether the larger table is on its way."""
    progress = "SELECT 1 FROM pg_stat_progress_copy WHERE tuples_processed > 2000"
    return bool(database.fetch(progress))


@pytest.mark.postgres
async def test_cancelled_delivery_stops_the_server_and_changes_nothing(
    ada: Client, source: SourceDatabase, artifacts: ArtifactStore
) -> None:
    id = (await ada.create(source.config, access_type=DESTINATION)).id
    delivering = asyncio.create_task(deliver(ada, delivery(id)))
    await until(lambda: copying(source))
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    await until(
        lambda: not source.fetch("SELECT 1 FROM pg_stat_activity WHERE application_name = 'simulacra'")
    )
    assert source.fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert await deliver(ada, delivery(id)) == {"parent": 1000, "child": ROWS}


@pytest.mark.postgres
async def test_table_that_is_dropped_under_way(ada: Client, source: SourceDatabase) -> None:
    source.run("CREATE TABLE a (id int)", "CREATE TABLE b (id int)")
    id = (await ada.create(source.config)).id
    tables = [
        internal_pb2.PullTableRequest(location=f"public.{name}", artifact_name=f"t/{name}") for name in "ab"
    ]
    request = internal_pb2.PullTablesRequest(connector_id=id, tables=tables)

    async def pull() -> list[internal_pb2.PullTablesProgress]:
        return [event async for event in ada.internal.PullTables(request)]

    with psycopg.connect(source.url) as other:
        other.execute("LOCK TABLE b IN ACCESS EXCLUSIVE MODE")
        pulling = asyncio.create_task(pull())
        await until(lambda: source.fetch("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        other.execute("DROP TABLE b")
    with pytest.raises(LocationNotFound, match=r"public\.b"):
        await pulling
    source.run("CREATE TABLE b (id int)")
    assert (await pull())[-1].progress.done


@pytest.mark.postgres
async def test_calls_beyond_the_limit_of_a_source_wait(
    settings: Settings, connect: Callable[..., Client], source: SourceDatabase
) -> None:
    narrow = await create(settings(connections_per_source=2))
    await narrow.start()
    client = connect(narrow)
    # Those at work: a session that was closed is listed until its process has ended.
    at_work = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'simulacra' AND state = 'active'"
    )
    try:
        id = (await client.create(source.config)).id
        calls = [asyncio.create_task(client.query(id, "SELECT pg_sleep(0.3)::text AS a")) for _ in range(6)]
        most = 0
        while not all(call.done() for call in calls):
            [(count,)] = await asyncio.to_thread(source.fetch, at_work)
            most = max(most, count)
        assert most == 2
        assert [call.result().num_rows for call in calls] == [1] * 6
    finally:
        await narrow.stop()


@pytest.fixture
async def shop(mariadb_server: MariaDbServer) -> AsyncIterator[str]:
    name = f"f{uuid.uuid4().hex[:8]}"
    mariadb_server.run(f"CREATE DATABASE {name}")
    yield name
    mariadb_server.run(f"DROP DATABASE {name}")


async def test_mariadb_delivery_happens_once(
    ada: Client, mariadb_server: MariaDbServer, shop: str, artifacts: ArtifactStore
) -> None:
    config = {"host": "127.0.0.1", "port": mariadb_server.port, "username": "root"}
    kind = {"type": connector_pb2.CONNECTOR_TYPE_MARIADB, "access_type": DESTINATION}
    id = (await ada.create(config, **kind)).id
    artifacts.delete("t/child")
    artifacts.write_table("t/child", pa.table({"id": range(50), "parent": range(50)}))
    for _ in range(2):
        assert await deliver(ada, delivery(id, shop)) == {"parent": 1000, "child": 50}
    assert sorted(mariadb_server.fetch(f"SHOW TABLES FROM {shop}")) == [("child",), ("parent",)]
    with pytest.raises(AlreadyExists):
        await deliver(ada, delivery(id, shop, delivery_id="two"))
    mariadb_server.run(f"DELETE FROM {shop}.child WHERE id > 9")
    artifacts.delete("t/child")
    artifacts.write_table("t/child", pa.table({"id": range(50), "parent": range(5000, 5050)}))
    with pytest.raises(InvalidArgument, match="foreign key"):
        await deliver(ada, delivery(id, shop, overwrite_tables=True, delivery_id="four"))
    assert mariadb_server.fetch(f"SELECT count(*) FROM {shop}.child") == [(10,)]
    assert sorted(mariadb_server.fetch(f"SHOW TABLES FROM {shop}")) == [("child",), ("parent",)]


async def test_mariadb_delivery_that_died_between_its_two_moments_is_ended(
    mariadb_server: MariaDbServer, shop: str
) -> None:
    mariadb_server.run(
        f"CREATE TABLE {shop}.old (id bigint PRIMARY KEY) ENGINE = InnoDB",
        f"INSERT INTO {shop}.old VALUES (-1)",
    )

    def target() -> Target:
        streams = {name: pa.table({"id": range(3)}) for name in ("old", "new")}
        return Target(
            shop,
            "tag",
            tuple(
                TableToDeliver(name, TableStream(table.schema, iter(table.to_batches())), ("id",))
                for name, table in streams.items()
            ),
        )

    def connect() -> Any:
        return pymysql.connect(host="127.0.0.1", port=mariadb_server.port, user="root")

    def staged() -> bool:
        return bool(mariadb_server.fetch(f"SHOW TABLES FROM {shop} LIKE 'simulacra_tag_1'"))

    # A reader of the staged table holds up its renaming, which comes after the commit; there the writer dies.
    writing, reader = connect(), connect()
    noted: list[Any] = []

    def write() -> None:
        def note(rows: Any) -> None:
            noted.append(dict(rows))
            with reader.cursor() as cursor:
                cursor.execute(f"SELECT * FROM {shop}.simulacra_tag_1")

        with pytest.raises(pymysql.err.Error):
            for _ in TableWriter(writing).write_all(target(), WriteMode.OVERWRITE, note=note):
                pass

    thread = threading.Thread(target=write)
    thread.start()
    waiting = "SELECT id FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
    await until(lambda: mariadb_server.fetch(waiting))
    [(killed,)] = mariadb_server.fetch(waiting)
    mariadb_server.run(f"KILL CONNECTION {killed}")
    await asyncio.to_thread(thread.join)
    reader.close()
    assert noted == [{"old": 3, "new": 3}]
    assert mariadb_server.fetch(f"SELECT count(*) FROM {shop}.old") == [(3,)]
    assert staged()

    with connect() as connection:
        writer = TableWriter(connection)
        assert writer.finish(target())
        assert writer.finish(target())
        writer.forget(target())
        assert not writer.finish(target())
    assert sorted(mariadb_server.fetch(f"SHOW TABLES FROM {shop}")) == [("new",), ("old",)]
    assert mariadb_server.fetch(f"SELECT count(*) FROM {shop}.new") == [(3,)]


@pytest.mark.postgres
async def test_lock_of_another_session_is_named_and_waited_for_only_for_a_while(
    settings: Settings,
    connect: Callable[..., Client],
    source: SourceDatabase,
    mariadb_server: MariaDbServer,
    shop: str,
) -> None:
    impatient = await create(settings(statement_timeout=2))
    await impatient.start()
    client = connect(impatient)
    source.run("CREATE TABLE t (id int)")
    mariadb_server.run(f"CREATE TABLE {shop}.t (id int) ENGINE = InnoDB")
    config = {"host": "127.0.0.1", "port": mariadb_server.port, "username": "root"}
    kind = {"type": connector_pb2.CONNECTOR_TYPE_MARIADB}
    locking = pymysql.connect(host="127.0.0.1", port=mariadb_server.port, user="root")
    try:
        ids = [(await client.create(source.config)).id, (await client.create(config, **kind)).id]
        with psycopg.connect(source.url) as other, locking, locking.cursor() as cursor:
            other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            cursor.execute(f"LOCK TABLES {shop}.t WRITE")
            for id, location in zip(ids, ("public.t", f"{shop}.t"), strict=True):
                with pytest.raises(DeadlineExceeded, match=r"another session .* holds a lock"):
                    await client.read(id, location)
        for id, location in zip(ids, ("public.t", f"{shop}.t"), strict=True):
            assert (await client.read(id, location)).num_rows == 0
    finally:
        await impatient.stop()
