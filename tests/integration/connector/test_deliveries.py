"""New tables get their keys, whatever refers to whatever, and keep them when they are replaced."""

import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from simulacra.artifacts import ArtifactStore
from simulacra.errors import InvalidArgument, LocationNotFound
from simulacra.v1 import connector_pb2, internal_pb2
from simulacra_connector.app import ConnectorComponent
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings, SourceDatabase
from tests.mariadb import MariaDbServer

Fetch = Callable[[str], list[tuple[Any, ...]]]

# A composite key of text and number; a table that refers to itself; two that refer to each other; a key that
# is a number with gaps, as a float with nulls.
TABLES = {
    "shop": pa.table({"country": ["at", "AT", "at "], "number": [1, 1, 1], "chief": [1, None, 2]}),
    "person": pa.table(
        {"id": [1, 2, 3], "boss": [2.0, None, 3.0], "country": ["at", "AT", None], "number": [1, 1, 1]}
    ),
}
KEYS = {
    "shop": (["country", "number"], [(["chief"], "person", ["id"])]),
    "person": (
        ["id"],
        [(["boss"], "person", ["id"]), (["country", "number"], "shop", ["country", "number"])],
    ),
}


@pytest.fixture
def artifacts(component: ConnectorComponent, settings: Settings) -> ArtifactStore:
    store = ArtifactStore.from_url(settings().artifacts_url)
    for name, table in TABLES.items():
        store.write_table(f"t/{name}", table)
    return store


@pytest.fixture(params=[pytest.param("POSTGRES", marks=pytest.mark.postgres), "MARIADB"])
async def place(request: pytest.FixtureRequest, ada: Client) -> tuple[str, str, Fetch]:
    """The id of a connector, a location there, and a way to ask the server."""
    access = connector_pb2.CONNECTOR_ACCESS_TYPE_DESTINATION
    if request.param == "POSTGRES":
        source: SourceDatabase = request.getfixturevalue("source")
        return (await ada.create(source.config, access_type=access)).id, "public", source.fetch
    server: MariaDbServer = request.getfixturevalue("mariadb_server")
    name = f"k{uuid.uuid4().hex[:8]}"
    server.run(f"CREATE DATABASE {name}")
    config = {"host": "127.0.0.1", "port": server.port, "username": "root"}
    kind = connector_pb2.CONNECTOR_TYPE_MARIADB
    return (await ada.create(config, type=kind, access_type=access)).id, name, server.fetch


def request(id: str, location: str, delivery_id: str, **changes: Any) -> internal_pb2.DeliverTablesRequest:
    tables = [
        internal_pb2.DeliverTable(
            name=name,
            artifact_name=f"t/{name}",
            primary_key=primary,
            foreign_keys=[
                internal_pb2.DeliverForeignKey(
                    columns=columns, referenced_table=table, referenced_columns=others
                )
                for columns, table, others in foreign
            ],
        )
        for name, (primary, foreign) in KEYS.items()
    ]
    return internal_pb2.DeliverTablesRequest(
        connector_id=id, location=location, tables=tables, delivery_id=delivery_id, **changes
    )


async def deliver(client: Client, message: internal_pb2.DeliverTablesRequest) -> dict[str, int]:
    return {e.table_name: e.rows async for e in client.internal.DeliverTables(message) if e.done}


def references(fetch: Fetch, location: str) -> list[tuple[str, str]]:
    """Returns the tables and columns with foreign keys."""
    found = fetch(
        "SELECT k.table_name, k.column_name FROM information_schema.key_column_usage k "
        "JOIN information_schema.referential_constraints r ON r.constraint_name = k.constraint_name "
        f"AND r.constraint_schema = k.constraint_schema WHERE k.table_schema = '{location}'"
    )
    return sorted((str(table), str(column)) for table, column in found)


async def test_keys_are_made_and_kept(
    ada: Client, place: tuple[str, str, Fetch], artifacts: ArtifactStore
) -> None:
    id, location, fetch = place
    expected = [("person", "boss"), ("person", "country"), ("person", "number"), ("shop", "chief")]
    for delivery_id in ("first", "second"):
        done = await deliver(ada, request(id, location, delivery_id, overwrite_tables=True))
        assert done == {"shop": 3, "person": 3}
        assert references(fetch, location) == expected
        assert fetch(f"SELECT id, boss FROM {location}.person ORDER BY id") == [(1, 2), (2, None), (3, 3)]
        assert len(fetch(f"SELECT country FROM {location}.shop")) == 3
    artifacts.delete("t/person")
    orphans = TABLES["person"].set_column(1, "boss", [[77.0, None, None]])
    artifacts.write_table("t/person", orphans)
    with pytest.raises(InvalidArgument, match="key"):
        await deliver(ada, request(id, location, "third", overwrite_tables=True))
    assert fetch(f"SELECT id, boss FROM {location}.person ORDER BY id") == [(1, 2), (2, None), (3, 3)]


async def test_what_cannot_be_delivered_is_named_and_nothing_is_made(
    ada: Client, place: tuple[str, str, Fetch], artifacts: ArtifactStore
) -> None:
    id, location, fetch = place
    with pytest.raises(LocationNotFound, match="nowhere"):
        await deliver(ada, request(id, "nowhere", "one"))
    with pytest.raises(LocationNotFound, match="not to a table"):
        await deliver(ada, request(id, f"{location}.shop", "one"))
    with pytest.raises(LocationNotFound, match="nowhere"):
        await deliver(ada, request(id, "nowhere", "one", validate_only=True))
    wrong = request(id, location, "one")
    wrong.tables[0].primary_key[:] = ["nothing"]
    with pytest.raises(InvalidArgument, match='"nothing"'):
        await deliver(ada, wrong)
    with pytest.raises(InvalidArgument, match="together"):
        await deliver(ada, request(id, location, "one", overwrite_tables=True, append_to_tables=True))
    count = f"SELECT count(*) FROM information_schema.tables WHERE table_schema = '{location}'"
    assert fetch(count) == [(0,)]
    assert await deliver(ada, request(id, location, "one", validate_only=True)) == {}
    assert fetch(count) == [(0,)]
