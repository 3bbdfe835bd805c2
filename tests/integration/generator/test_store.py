"""The service's tables, in SQLite and in Postgres."""

from collections.abc import AsyncIterator

import pytest

from simulacra.domain import ProgressStatus
from simulacra.rpc import Principal
from simulacra.store import Database, tables
from simulacra.store.migrations import drift
from simulacra_generator.store import DatasetRows, metadata

OWNER = Principal("owner", "Owner")


@pytest.fixture
async def migrated(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, schema="generator")
    await database.migrate("simulacra_generator")
    yield database
    await database.close()


async def test_the_migrations_make_the_tables(migrated: Database) -> None:
    async with migrated.begin() as tx:
        assert await tx.connection.run_sync(drift, tables.metadata, metadata) == []


async def test_rows_are_found_by_name_description_and_status(migrated: Database) -> None:
    rows = DatasetRows()
    described = [("a", "Alpha", "of PEOPLE", "NEW"), ("b", "people", "", "DONE"), ("c", "gamma", "", "DONE")]
    async with migrated.begin() as tx:
        for id, name, description, status in described:
            document = {"description": description} if description else {}
            await rows.insert(
                tx,
                OWNER,
                id=id,
                name=name,
                document=document,
                generation_status=status,
                state={},
                generator_id="g",
            )

    async def found(viewer: Principal, term: str = "", *statuses: ProgressStatus) -> list[str]:
        async with migrated.read() as connection:
            page = await rows.list(
                connection,
                viewer,
                search_term=term,
                statuses=statuses,
                page_size=0,
                page_token="",
                generator_id="",
            )
            counts = await rows.counts(connection, [row["id"] for row in page.rows])
        assert counts == {row["id"]: {} for row in page.rows}
        return [row["id"] for row in page.rows]

    assert await found(OWNER) == ["c", "b", "a"]
    assert await found(OWNER, "PeoPle") == ["b", "a"]
    assert await found(OWNER, "people", ProgressStatus.DONE) == ["b"]
    assert await found(Principal("stranger", "Stranger")) == []
    assert len(await found(Principal.of_service("x"))) == 3
