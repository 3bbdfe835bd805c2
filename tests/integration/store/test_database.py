"""Transactions, revisions and migrations, on SQLite and on Postgres."""

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from simulacra.errors import DatabaseUnavailable, InvalidArgument, StorageFull
from simulacra.rpc.auth import Principal
from simulacra.store import Database, tables
from simulacra.store.migrations import drift
from tests.kernel_service.tables import THINGS, metadata, things
from tests.postgres import PostgresServer

ANN = Principal(user_id="u1", user_name="ann")


async def add(database: Database, name: str) -> int:
    async with database.begin() as tx:
        return await THINGS.insert(tx, ANN, id=name, name=name, document={"a": 1}, status="NEW")


async def test_migrations_make_the_tables_that_the_code_describes(database: Database) -> None:
    async with database.begin() as tx:
        assert await tx.connection.run_sync(drift, tables.metadata, metadata) == []


async def test_migrating_again_and_at_the_same_time_changes_nothing(database_url: str) -> None:
    replicas = [Database(database_url, schema="kernel_service") for _ in range(3)]
    await asyncio.gather(*(replica.migrate("tests.kernel_service") for replica in replicas))
    await replicas[0].migrate("tests.kernel_service")
    assert await replicas[1].revision() == 0
    for replica in replicas:
        await replica.close()


async def test_two_services_share_a_server_by_schema(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    first, second = Database(url, schema="one"), Database(url, schema="two-and")
    for database in (first, second):
        await database.migrate("tests.kernel_service")
    await add(first, "a")
    assert (await first.revision(), await second.revision()) == (1, 0)
    await first.close()
    await second.close()


async def test_revisions_grow_without_gaps_seen_by_readers(database: Database) -> None:
    seen: list[int] = []

    async def follow() -> None:
        cursor = 0
        while cursor < 60:
            async with database.read() as connection:
                statement = sa.select(things.c.revision).where(things.c.revision > cursor)
                rows = (await connection.execute(statement.order_by(things.c.revision))).scalars().all()
            seen.extend(rows)
            cursor = max([cursor, *rows])

    follower = asyncio.create_task(follow())
    await asyncio.gather(*(add(database, f"t{number}") for number in range(60)))
    async with asyncio.timeout(60):
        await follower
    assert seen == list(range(1, 61))


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    called: list[str] = []

    async def fail() -> None:
        async with database.begin() as tx:
            tx.after_commit(lambda: called.append("x"))
            await THINGS.insert(tx, ANN, id="a", name="a", document={}, status="NEW")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await database.revision() == 0
    assert called == []


async def test_a_cancelled_transaction_lets_the_next_writer_in(database: Database) -> None:
    entered = asyncio.Event()

    async def hold() -> None:
        async with database.begin() as tx:
            await tx.next_revision()
            entered.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await entered.wait()
    holder.cancel()
    async with asyncio.timeout(60):
        await add(database, "a")
    assert holder.done()


async def test_calls_cancelled_anywhere_leave_no_lock(database: Database) -> None:
    chance = random.Random(0)
    for number in range(60):
        broken = asyncio.create_task(add(database, f"broken{number}"))
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        broken.cancel()
        outcome = await asyncio.gather(broken, return_exceptions=True)  # its traceback holds on to a cursor
        async with asyncio.timeout(60):
            await add(database, f"whole{number}")
        assert isinstance(outcome[0], int | asyncio.CancelledError)


async def test_commit_wakes_those_who_wait_in_this_process(database: Database) -> None:
    with database.wakeups() as event:
        await add(database, "a")
        assert event.is_set()
        event.clear()
        async with database.begin():
            pass
        assert not event.is_set()


async def test_database_that_is_away_is_unavailable_and_comes_back(postgres_server: PostgresServer) -> None:
    database = Database(postgres_server.new_database(), schema="kernel_service")
    await database.migrate("tests.kernel_service")
    postgres_server.stop()
    try:
        with pytest.raises(DatabaseUnavailable, match="try again"):
            await add(database, "a")
        with pytest.raises(DatabaseUnavailable):
            await database.revision()
    finally:
        postgres_server.start()
    await add(database, "a")
    assert await database.revision() == 1
    await database.close()


async def test_values_that_a_database_refuses_are_the_callers_fault(postgres_server: PostgresServer) -> None:
    database = Database(postgres_server.new_database(), schema="kernel_service")
    await database.migrate("tests.kernel_service")
    with pytest.raises(InvalidArgument, match="cannot be stored"):
        await add(database, "n\0ul")
    with pytest.raises(InvalidArgument, match="cannot be stored"):
        async with database.begin() as tx:
            await tx.execute(sa.text("SELECT cast(:number AS integer)"), {"number": 1 << 40})
    await add(database, "a")
    await database.close()


async def test_full_disk_is_storage_full_and_nothing_is_half_written(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'service.db'}")
    await database.migrate("tests.kernel_service")

    async def fill() -> None:
        async with database.begin() as tx:
            await tx.execute(
                sa.text("PRAGMA max_page_count = 1")
            )  # SQLite takes the present size as the least
            document = {"filler": "x" * 10_000}
            for number in range(50):
                await THINGS.insert(tx, ANN, id=str(number), name="a", document=document, status="NEW")

    with pytest.raises(StorageFull, match="free some disk space"):
        await fill()
    assert await database.revision() == 0
    await database.close()


async def test_sqlite_locked_by_another_process_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulacra.store.database._BUSY_SECONDS", 0.2)
    database = Database(f"sqlite:///{tmp_path / 'service.db'}")
    await database.migrate("tests.kernel_service")
    other = sqlite3.connect(tmp_path / "service.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable):
        await add(database, "a")
    other.close()
    await add(database, "a")
    await database.close()


def test_other_databases_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'mysql' is not a database"):
        Database("mysql://host/db")
