"""Several tables are delivered to warehouses and buckets: refused, made, made once, replaced and added to."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from simulacra.artifacts import ArtifactStore
from simulacra.errors import AlreadyExists, InvalidArgument, LocationNotFound
from simulacra.v1 import connector_pb2, internal_pb2
from simulacra_connector.app import create
from tests.bigquery import BigQueryServer
from tests.buckets import Storage
from tests.certificates import service_account_key
from tests.databricks import DatabricksServer
from tests.hive import HiveServer, hive_server
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings
from tests.integration.connector.test_hive import Shop as HiveShop
from tests.integration.connector.test_snowflake import Shop as SnowflakeShop
from tests.integration.connector.test_writing import DESTINATION
from tests.tds import TdsServer
from tests.warehouses import SnowflakeServer, snowflake_server

__all__ = ["hive_server", "snowflake_server"]

TOLD_AND_MADE: list[dict[str, Any]] = [{}, {"validate_only": True}]


@dataclass(frozen=True, slots=True)
class Place:
    """A destination: its connector, the service's settings, and a location."""

    type: str
    config: dict[str, Any]
    secrets: dict[str, str]
    location: str
    settings: dict[str, Any] = field(default_factory=dict)
    missing: str = "nowhere"
    has_keys: bool = True
    has_foreign_keys: bool = False

    @property
    def is_bucket(self) -> bool:
        return self.type.endswith("STORAGE")

    def at(self, table: str) -> str:
        return f"{self.location}{'/' if self.is_bucket else '.'}{table}"


def bucket(storage: Storage) -> Place:
    name = f"b{uuid.uuid4().hex[:8]}"
    storage.filesystem.create_dir(name)
    return Place(
        storage.type,
        storage.config,
        storage.secrets,
        f"{name}/out",
        dict(storage.settings),
        missing=f"{name}-none/out",
        has_keys=False,
    )


@pytest.fixture
def s3(s3_storage: Storage) -> Place:
    return bucket(s3_storage)


@pytest.fixture
def google(google_storage: Storage) -> Place:
    return bucket(google_storage)


@pytest.fixture
def azure(azure_storage: Storage) -> Place:
    return bucket(azure_storage)


@pytest.fixture
def mssql() -> Iterator[Place]:
    server = TdsServer("password")
    config = {"host": "127.0.0.1", "port": server.port, "username": "writer", "database": "shop"}
    yield Place("MSSQL", config, {"password": "password"}, "dbo", {"mssql_tls": False}, has_foreign_keys=True)
    server.stop()


@pytest.fixture
def bigquery() -> Iterator[Place]:
    server = BigQueryServer()
    server.run("CREATE SCHEMA shop")
    key = {"keyFile": service_account_key()}
    yield Place("BIGQUERY", {}, key, "shop", {"endpoints": {"BIGQUERY": server.url}}, has_keys=False)
    server.stop()


@pytest.fixture
def databricks() -> Iterator[Place]:
    server = DatabricksServer("token")
    server.run("CREATE SCHEMA shop.s")
    config = {"host": "workspace.example", "httpPath": "/sql/1.0/warehouses/x", "catalog": "shop"}
    settings = {"endpoints": {"DATABRICKS": server.url}, "connect_timeout": 3}
    yield Place("DATABRICKS", config, {"accessToken": "token"}, "s", settings)
    server.stop()


@pytest.fixture
def snowflake(snowflake_server: SnowflakeServer) -> Place:
    settings = {"endpoints": {"SNOWFLAKE": snowflake_server.url}}
    return Place("SNOWFLAKE", SnowflakeShop(snowflake_server).config, {"password": "p"}, "S", settings)


@pytest.fixture
def hive(hive_server: HiveServer) -> Place:
    shop = HiveShop(hive_server)
    return Place("HIVE", shop.config, {"password": "p"}, shop.name, has_keys=False)


@pytest.fixture(
    params=[
        "s3",
        "google",
        "azure",
        "mssql",
        "bigquery",
        "snowflake",
        pytest.param("databricks", marks=pytest.mark.slow),
        pytest.param("hive", marks=pytest.mark.slow),
    ]
)
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def client(place: Place, settings: Settings, connect: Callable[..., Client]) -> AsyncIterator[Client]:
    component = await create(settings(**place.settings))
    await component.start()
    yield connect(component)
    await component.stop()


def store(settings: Settings, **tables: pa.Table) -> None:
    """Keeps tables as the artifacts `t/...`."""
    artifacts = ArtifactStore.from_url(settings().artifacts_url)
    for name, table in tables.items():
        artifacts.delete(f"t/{name}")
        artifacts.write_table(f"t/{name}", table)


async def connector(client: Client, place: Place, **fields: Any) -> str:
    type = connector_pb2.ConnectorType.Value(f"CONNECTOR_TYPE_{place.type}")
    return str((await client.create(place.config, type=type, secrets=place.secrets, **fields)).id)


async def deliver(
    client: Client, id: str, place: Place, delivery_id: str, location: str = "", **mode: Any
) -> dict[str, int]:
    key = internal_pb2.DeliverForeignKey(
        columns=["owner"], referenced_table="people", referenced_columns=["id"]
    )
    request = internal_pb2.DeliverTablesRequest(
        connector_id=id,
        location=location or place.location,
        delivery_id=delivery_id,
        tables=[
            internal_pb2.DeliverTable(name="people", artifact_name="t/people", primary_key=["id"]),
            internal_pb2.DeliverTable(
                name="pets",
                artifact_name="t/pets",
                primary_key=["id"],
                foreign_keys=[key] if place.has_foreign_keys else [],
            ),
        ],
        **mode,
    )
    return {e.table_name: e.rows async for e in client.internal.DeliverTables(request) if e.done}


async def test_tables_are_delivered(client: Client, place: Place, settings: Settings) -> None:
    people = pa.table({"id": range(40), "name": ["n"] * 39 + [None]})
    pets = pa.table({"id": range(60), "owner": [i % 40 for i in range(60)], "weight": [0.5] * 60})
    store(settings, people=people, pets=pets)
    id, reader = await connector(client, place, access_type=DESTINATION), await connector(client, place)

    async def below() -> list[str]:
        request = connector_pb2.ListLocationsRequest(id=reader, prefix=place.location)
        return [each.strip("/") for each in (await client.connectors.ListLocations(request)).locations]

    async def counts() -> tuple[int, int]:
        read = [await client.read(reader, place.at(name)) for name in ("people", "pets")]
        return read[0].num_rows, read[1].num_rows

    for mode in TOLD_AND_MADE:
        with pytest.raises(LocationNotFound, match=place.missing):
            await deliver(client, id, place, "one", place.missing, **mode)
    assert await deliver(client, id, place, "one", validate_only=True) == {}
    assert await below() == []

    for _ in range(2):
        assert await deliver(client, id, place, "one") == {"people": 40, "pets": 60}
        assert await below() == [place.at("people"), place.at("pets")]
        assert await counts() == (40, 60)
    read = await client.read(reader, place.at("people"))
    assert sorted(zip(*read.select(["id", "name"]).to_pydict().values(), strict=True)) == sorted(
        zip(*people.to_pydict().values(), strict=True)
    )
    if place.has_keys:
        schema = connector_pb2.GetSchemaRequest(id=reader, location=place.at("pets"))
        assert list((await client.connectors.GetSchema(schema)).primary_key) == ["id"]

    for mode in TOLD_AND_MADE:
        with pytest.raises(AlreadyExists, match=r"people is there already"):
            await deliver(client, id, place, "two", **mode)
    await deliver(client, id, place, "three", overwrite_tables=True, validate_only=True)
    assert await counts() == (40, 60)

    store(settings, people=people.slice(0, 30), pets=pets.append_column("unknown", [[1] * 60]))
    if not place.is_bucket:
        with pytest.raises(InvalidArgument, match='"unknown" is not in the table'):
            await deliver(client, id, place, "three", overwrite_tables=True)
        assert await counts() == (40, 60)
        assert await below() == [place.at("people"), place.at("pets")]
    store(settings, pets=pets.slice(0, 30))
    done = await deliver(client, id, place, "three", overwrite_tables=True)
    assert done == {"people": 30, "pets": 30}
    assert await counts() == (30, 30)

    more = pa.table({"id": range(100, 105), "name": ["m"] * 5})
    store(settings, people=more, pets=pa.table({"id": [200], "owner": [100], "weight": [1.5]}))
    for _ in range(2):
        done = await deliver(client, id, place, "four", append_to_tables=True)
        assert done == {"people": 5, "pets": 1}
        assert await counts() == (35, 31)
