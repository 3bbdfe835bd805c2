"""The migrations make the tables that the code describes."""

from pathlib import Path

import sqlalchemy as sa

from simulacra.store import Database, tables
from simulacra.store.migrations import drift
from simulacra_gateway.store import metadata


async def test_migrations_make_the_tables_of_the_code(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    await database.migrate("simulacra_gateway")
    await database.migrate("simulacra_gateway")  # a second time changes nothing
    async with database.engine.connect() as connection:

        def compare(sync: sa.Connection) -> list[object]:
            return drift(sync, tables.metadata, metadata)

        assert await connection.run_sync(compare) == []
    await database.close()
