"""Sources and destinations that die, fill up or change under way: clear errors, nothing half done, once."""

import asyncio
import os
import pwd
import subprocess
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
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
    SourceUnreachable,
    StorageFull,
)
from simulacra.v1 import connector_pb2, internal_pb2
from simulacra_connector.app import ConnectorComponent, create
from simulacra_connector.drivers.base import TableStream, WriteMode
from simulacra_connector.drivers.delivery import TableToDeliver
from simulacra_connector.drivers.mysql.writing import TableWriter, Target
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings, SourceDatabase
from tests.mariadb import MariaDbServer
from tests.postgres import PostgresServer, postgres_binaries, running_postgres
from tests.require import require

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


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that tests may kill."""
    binaries = postgres_binaries()
    require("postgres", binaries is not None, "no Postgres server binaries")
    assert binaries is not None
    with running_postgres(binaries) as server:
        yield server


@pytest.fixture
def database(server: PostgresServer) -> SourceDatabase:
    return SourceDatabase(server.new_database())


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
async def test_delivery_outlives_a_restart_of_the_server(
    ada: Client, server: PostgresServer, database: SourceDatabase, artifacts: ArtifactStore
) -> None:
    id = (await ada.create(database.config, access_type=DESTINATION)).id
    delivering = asyncio.create_task(deliver(ada, delivery(id)))
    await until(lambda: copying(database))
    server.stop()
    server.start()
    assert await delivering == {"parent": 1000, "child": ROWS}
    assert database.fetch("SELECT count(*), count(DISTINCT id) FROM child") == [(ROWS, ROWS)]
    assert database.fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(2,)]
    # What was delivered is not delivered again, though the tables are there now; another delivery is refused.
    assert await deliver(ada, delivery(id)) == {"parent": 1000, "child": ROWS}
    with pytest.raises(AlreadyExists):
        await deliver(ada, delivery(id, delivery_id="two"))


@pytest.mark.postgres
async def test_reading_outlives_a_restart_of_the_server(
    ada: Client, server: PostgresServer, database: SourceDatabase
) -> None:
    database.run("CREATE TABLE t AS SELECT i AS id, repeat('x', 100) AS x FROM generate_series(1, 400000) i")
    id = (await ada.create(database.config)).id
    request = internal_pb2.PullTableRequest(connector_id=id, location="public.t", artifact_name="t/t")
    events: list[internal_pb2.PullTableProgress] = []
    async for event in ada.internal.PullTable(request):
        if not events:
            server.stop()
            server.start()
        events.append(event)
    assert events[-1].done
    assert events[-1].rows == 400_000


@pytest.mark.postgres
async def test_a_server_that_stays_away_is_an_error_and_changes_nothing(
    settings: Settings,
    connect: Callable[..., Client],
    server: PostgresServer,
    database: SourceDatabase,
    artifacts: ArtifactStore,
) -> None:
    impatient = await create(settings(retry_seconds=0))
    await impatient.start()
    client = connect(impatient)
    try:
        database.run(
            "CREATE TABLE parent (id int PRIMARY KEY, x text)", "INSERT INTO parent VALUES (-1, 'old')"
        )
        id = (await client.create(database.config, access_type=DESTINATION)).id
        request = delivery(id, overwrite_tables=True)
        delivering = asyncio.create_task(deliver(client, request))
        await until(lambda: copying(database))
        server.stop()
        with pytest.raises(SourceUnreachable, match="127"):
            await delivering
        server.start()
        assert database.fetch("SELECT id FROM parent") == [(-1,)]
        assert database.fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]
        assert await deliver(client, request) == {"parent": 1000, "child": ROWS}
    finally:
        await impatient.stop()


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
    open_now = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'simulacra'"
    try:
        id = (await client.create(source.config)).id
        calls = [asyncio.create_task(client.query(id, "SELECT pg_sleep(0.3)::text AS a")) for _ in range(6)]
        most = 0
        while not all(call.done() for call in calls):
            [(count,)] = await asyncio.to_thread(source.fetch, open_now)
            most = max(most, count)
        assert most == 2
        assert [call.result().num_rows for call in calls] == [1] * 6
    finally:
        await narrow.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 megabytes for the server's user."""
    folder = tmp_path.parent / f"disk-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    require("small_disk", mounted, "only root can mount the small disk that this test fills")
    try:
        for parent in [folder, *folder.parents]:
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        entry = pwd.getpwnam("postgres")
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.postgres
async def test_full_disk_is_told_and_changes_nothing(
    ada: Client, database: SourceDatabase, small_disk: Path, artifacts: ArtifactStore
) -> None:
    name = database.config["database"]
    database.run(
        f"CREATE TABLESPACE small LOCATION '{small_disk}'",
        f"ALTER DATABASE {name} SET default_tablespace = small",
    )
    database.run("CREATE TABLE parent (id int PRIMARY KEY, x text)", "INSERT INTO parent VALUES (-1, 'old')")
    id = (await ada.create(database.config, access_type=DESTINATION)).id
    request = delivery(id, overwrite_tables=True)
    with pytest.raises(StorageFull, match="no space left"):
        await deliver(ada, request)
    assert database.fetch("SELECT id FROM parent") == [(-1,)]
    assert database.fetch("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]
    database.run(f"ALTER DATABASE {name} RESET default_tablespace")
    assert await deliver(ada, request) == {"parent": 1000, "child": ROWS}


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
