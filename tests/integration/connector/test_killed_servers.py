"""Servers, of PostgreSQL and MariaDB, that are killed, fill up or change under way: nothing, then all."""

import asyncio
import contextlib
import os
import pwd
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from simulacra.artifacts import ArtifactStore
from simulacra.errors import (
    AlreadyExists,
    LocationNotFound,
    SourceAuthenticationFailed,
    SourceUnreachable,
    StorageFull,
)
from simulacra.v1 import connector_pb2, internal_pb2
from simulacra_connector.app import create
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings
from tests.integration.connector.test_faults import artifacts, deliver, delivery, until
from tests.mariadb import MariaDbServer, mariadb_available
from tests.postgres import PostgresServer, postgres_binaries, running_postgres
from tests.require import require

__all__ = ["artifacts"]

DESTINATION = connector_pb2.CONNECTOR_ACCESS_TYPE_DESTINATION
ROWS = 300_000
DONE = {"parent": 1000, "child": ROWS}
PASSWORD = "planted'\\pass/word"


class PostgresPlace:
    """A database of a PostgreSQL server, where the user `loader` needs a password."""

    type = connector_pb2.CONNECTOR_TYPE_POSTGRES
    schema = "public"
    series = "generate_series(1, {0}) AS s (seq)"
    user = "loader"
    under_way = "SELECT 1 FROM pg_stat_progress_copy WHERE tuples_processed > 2000"
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    lock = "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE"

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.url = server.new_database()
        self.name = self.url.rpartition("/")[2]
        [(path,)] = self.fetch("SHOW hba_file")
        rules = Path(path).read_text()
        if "loader" not in rules:
            Path(path).write_text("host all loader 127.0.0.1/32 scram-sha-256\n" + rules)
            self.run("CREATE ROLE loader LOGIN", "SELECT pg_reload_conf()")
        self.run(f"ALTER DATABASE {self.name} OWNER TO loader", "ALTER SCHEMA public OWNER TO loader")
        self.set_password(PASSWORD)
        parts = self.url.partition("@")[2].partition("/")[0].split(":")
        self.config = {"host": parts[0], "port": int(parts[1]), "username": "loader", "database": self.name}

    def connect(self) -> Any:
        return psycopg.connect(self.url, autocommit=True)

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.fetch(statement)

    def set_password(self, password: str) -> None:
        with self.connect() as connection:
            quoted = password.replace("'", "''")
            connection.execute(f"ALTER ROLE loader PASSWORD '{quoted}'")

    def make_old(self) -> None:
        """Makes one of the two tables, with a row."""
        self.run("CREATE TABLE parent (id int PRIMARY KEY, x text)", "INSERT INTO parent VALUES (-1, 'old')")
        self.run("ALTER TABLE parent OWNER TO loader")

    def tables(self) -> list[str]:
        return [
            name
            for (name,) in self.fetch(
                "SELECT relname FROM pg_class WHERE relkind = 'r' "
                "AND relnamespace = 'public'::regnamespace ORDER BY 1"
            )
        ]

    @contextlib.contextmanager
    def small_disk(self) -> Iterator[Callable[[], None]]:
        """Puts tables on a small disk; yields what gives them room."""
        with (
            tempfile.TemporaryDirectory(prefix="simulacra-disk-") as folder,
            small_disk("postgres", Path(folder)) as grow,
        ):
            space = f"small_{uuid.uuid4().hex[:8]}"
            self.run(
                f"CREATE TABLESPACE {space} LOCATION '{grow.folder}'",
                f"GRANT CREATE ON TABLESPACE {space} TO loader",
                f"ALTER DATABASE {self.name} SET default_tablespace = {space}",
            )
            yield grow
            self.run(
                f"ALTER DATABASE {self.name} RESET default_tablespace",
                "DROP TABLE parent, child",
                f"DROP TABLESPACE {space}",
            )

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()


class MariaDbPlace:
    """A database of a MariaDB server."""

    type = connector_pb2.CONNECTOR_TYPE_MARIADB
    series = "seq_1_to_{0}"
    waiting = "SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
    lock = "LOCK TABLES {} WRITE"

    def __init__(self, server: MariaDbServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.name = self.schema = f"k{uuid.uuid4().hex[:8]}"
        self.under_way = (
            "SELECT 1 FROM information_schema.innodb_sys_tablespaces "
            f"WHERE name LIKE '{self.name}/simulacra%1' AND file_size > 1000000"
        )
        self.user = f"{self.name}@'127.0.0.1'"
        server.run(f"CREATE DATABASE {self.name}", f"CREATE USER {self.user}")
        server.run(f"GRANT ALL ON {self.name}.* TO {self.user}")
        self.set_password(PASSWORD)
        self.config = {"host": "127.0.0.1", "port": server.port, "username": self.name}

    def connect(self) -> Any:
        return pymysql.connect(
            host="127.0.0.1", port=self.server.port, user="root", database=self.name, autocommit=True
        )

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.fetch(statement)

    def set_password(self, password: str) -> None:
        quoted = password.replace("\\", "\\\\").replace("'", "\\'")
        self.server.run(f"ALTER USER {self.user} IDENTIFIED BY '{quoted}'")

    def make_old(self) -> None:
        """Makes one of the two tables, with a row."""
        self.run(
            "CREATE TABLE parent (id bigint PRIMARY KEY, x text) ENGINE = InnoDB",
            "INSERT INTO parent VALUES (-1, 'old')",
        )

    def tables(self) -> list[str]:
        return sorted(name for (name,) in self.fetch("SHOW TABLES"))

    @contextlib.contextmanager
    def small_disk(self) -> Iterator[Callable[[], None]]:
        """Puts the database on a small disk; yields what gives it room."""
        with small_disk("mysql", self.folder / "data" / self.name) as grow:
            yield grow
            self.run("SET foreign_key_checks = 0", "DROP TABLE IF EXISTS child, parent")

    def kill(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server.start("--innodb-flush-log-at-trx-commit=2")  # so that what is committed outlives a kill


Place = PostgresPlace | MariaDbPlace


class Disk:
    """A small disk; calling it makes it larger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> None:
        subprocess.run(["mount", "-o", "remount,size=400m", str(self.folder)], check=True)


@contextlib.contextmanager
def small_disk(user: str, folder: Path) -> Iterator[Disk]:
    """Mounts a disk of 12 megabytes for a server's user."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    require("small_disk", mounted, "only root can mount the small disk that this test fills")
    try:
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def postgres_to_kill() -> Iterator[PostgresServer]:
    binaries = postgres_binaries()
    require("postgres", binaries is not None, "no Postgres server binaries")
    assert binaries is not None
    with running_postgres(binaries) as server:
        yield server


@pytest.fixture(scope="module")
def mariadb_to_kill() -> Iterator[tuple[MariaDbServer, Path]]:
    require("mariadb", mariadb_available(), "no MariaDB server binaries")
    with tempfile.TemporaryDirectory(prefix="simulacra-mariadb-") as name:
        server = MariaDbServer(Path(name))
        try:
            server.stop()
            server.start("--innodb-flush-log-at-trx-commit=2")
            yield server, Path(name)
        finally:
            server.stop()


@pytest.fixture(params=[pytest.param("POSTGRES", marks=pytest.mark.postgres), "MARIADB"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "POSTGRES":
        return PostgresPlace(request.getfixturevalue("postgres_to_kill"))
    return MariaDbPlace(*request.getfixturevalue("mariadb_to_kill"))


async def connector(client: Client, place: Place, **fields: Any) -> str:
    return str(
        (await client.create(place.config, type=place.type, secrets={"password": PASSWORD}, **fields)).id
    )


@pytest.fixture
async def impatient(settings: Settings, connect: Callable[..., Client], artifacts: ArtifactStore) -> Any:
    """A client of a service that tries once."""
    component = await create(settings(retry_seconds=0))
    await component.start()
    yield connect(component)
    await component.stop()


def unchanged(place: Place) -> bool:
    """Tells whether there is nothing but the old table with its row."""
    return place.tables() == ["parent"] and place.fetch("SELECT id FROM parent") == [(-1,)]


def delivered(place: Place) -> bool:
    counts = place.fetch("SELECT (SELECT count(*) FROM parent), (SELECT count(DISTINCT id) FROM child)")
    return place.tables() == ["child", "parent"] and counts == [(1000, ROWS)]


async def test_a_delivery_outlives_a_killed_server(
    ada: Client, place: Place, artifacts: ArtifactStore
) -> None:
    id = await connector(ada, place, access_type=DESTINATION)
    delivering = asyncio.create_task(deliver(ada, delivery(id, place.schema)))
    await until(lambda: place.fetch(place.under_way))
    place.kill()
    await asyncio.to_thread(place.start)
    assert await delivering == DONE
    assert delivered(place)
    # What was delivered is not delivered again, though the tables are there now; another delivery is refused.
    assert await deliver(ada, delivery(id, place.schema)) == DONE
    with pytest.raises(AlreadyExists):
        await deliver(ada, delivery(id, place.schema, delivery_id="two"))


async def test_a_read_outlives_a_killed_server(ada: Client, place: Place) -> None:
    place.run(
        f"CREATE TABLE t AS SELECT seq AS id, repeat('x', 100) AS x FROM {place.series.format(400_000)}"
    )
    if isinstance(place, PostgresPlace):
        place.run("ALTER TABLE t OWNER TO loader")
    id = await connector(ada, place)
    request = internal_pb2.PullTableRequest(
        connector_id=id, location=f"{place.schema}.t", artifact_name="t/t"
    )
    events: list[internal_pb2.PullTableProgress] = []
    async for event in ada.internal.PullTable(request):
        if not events:
            place.kill()
            await asyncio.to_thread(place.start)
        events.append(event)
    assert (events[-1].done, events[-1].rows) == (True, 400_000)
    assert min(event.rows for event in events) < 400_000


async def test_a_killed_server_that_stays_away_is_an_error_and_changes_nothing(
    impatient: Client, place: Place
) -> None:
    place.make_old()
    id = await connector(impatient, place, access_type=DESTINATION)
    request = delivery(id, place.schema, overwrite_tables=True)
    delivering = asyncio.create_task(deliver(impatient, request))
    await until(lambda: place.fetch(place.under_way))
    place.kill()
    try:
        with pytest.raises(SourceUnreachable, match="127"):
            await delivering
        with pytest.raises(SourceUnreachable, match="127"):
            await deliver(impatient, request)
    finally:
        await asyncio.to_thread(place.start)
    assert await deliver(impatient, request) == DONE
    assert delivered(place)


async def test_a_wrong_password_changes_nothing(impatient: Client, place: Place) -> None:
    place.make_old()
    id = await connector(impatient, place, access_type=DESTINATION)
    request = delivery(id, place.schema, overwrite_tables=True)
    place.set_password("another")
    with pytest.raises(SourceAuthenticationFailed) as refused:
        await deliver(impatient, request)
    assert PASSWORD not in refused.value.message
    assert unchanged(place)
    await impatient.connectors.UpdateConnector(
        connector_pb2.UpdateConnectorRequest(
            id=id, secrets={"password": "another"}, update_mask=FieldMask(paths=["secrets"])
        )
    )
    assert await deliver(impatient, request) == DONE


async def test_a_target_that_is_dropped_under_way(
    ada: Client, place: Place, artifacts: ArtifactStore
) -> None:
    place.make_old()
    id = await connector(ada, place, access_type=DESTINATION)
    request = delivery(id, place.schema, overwrite_tables=True)
    delivering = asyncio.create_task(deliver(ada, request))
    await until(lambda: place.fetch(place.under_way))
    if isinstance(place, PostgresPlace):
        # It cannot be: its lock is the delivery's until the end.
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await asyncio.to_thread(place.run, "SET lock_timeout = 50; DROP TABLE parent")
        assert await delivering == DONE
    else:
        await asyncio.to_thread(place.run, "DROP TABLE parent")
        with pytest.raises(LocationNotFound, match="parent"):
            await delivering
        assert place.tables() == []
        assert await deliver(ada, request) == DONE
    assert delivered(place)


async def test_a_source_that_is_dropped_under_way(ada: Client, place: Place) -> None:
    place.run("CREATE TABLE a (id int)", "CREATE TABLE b (id int)")
    if isinstance(place, PostgresPlace):
        place.run("GRANT SELECT ON a, b TO loader")
    id = await connector(ada, place)
    tables = [
        internal_pb2.PullTableRequest(location=f"{place.schema}.{name}", artifact_name=f"t/{name}")
        for name in "ab"
    ]
    request = internal_pb2.PullTablesRequest(connector_id=id, tables=tables)

    async def pull() -> list[internal_pb2.PullTablesProgress]:
        return [event async for event in ada.internal.PullTables(request)]

    other = place.connect()
    try:
        cursor = other.cursor()
        cursor.execute("BEGIN" if isinstance(place, PostgresPlace) else "SELECT 1")
        cursor.execute(place.lock.format("b"))
        pulling = asyncio.create_task(pull())
        await until(lambda: place.fetch(place.waiting))
        cursor.execute("DROP TABLE b")
        cursor.execute("COMMIT" if isinstance(place, PostgresPlace) else "UNLOCK TABLES")
    finally:
        other.close()
    with pytest.raises(LocationNotFound, match=rf"{place.schema}\.b"):
        await pulling
    place.run("CREATE TABLE b (id int)")
    if isinstance(place, PostgresPlace):
        place.run("GRANT SELECT ON b TO loader")
    assert (await pull())[-1].progress.done


async def test_a_full_disk_changes_nothing(ada: Client, place: Place, artifacts: ArtifactStore) -> None:
    with place.small_disk() as grow:
        place.make_old()
        id = await connector(ada, place, access_type=DESTINATION)
        request = delivery(id, place.schema, overwrite_tables=True)
        with pytest.raises(StorageFull, match="no space left"):
            await deliver(ada, request)
        assert unchanged(place)
        grow()
        assert await deliver(ada, request) == DONE
        assert delivered(place)
