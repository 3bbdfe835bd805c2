"""Several tables of one job are read as they were at one moment, and samples of them hold whole subjects."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from simulacra.artifacts import ArtifactStore
from simulacra.errors import InvalidArgument
from simulacra.v1 import connector_pb2, internal_pb2
from simulacra_connector.app import ConnectorComponent
from simulacra_connector.settings import ConnectorSettings
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import SourceDatabase
from tests.mariadb import MariaDbServer


def request(id: str, *tables: dict[str, Any]) -> internal_pb2.PullTablesRequest:
    return internal_pb2.PullTablesRequest(
        connector_id=id, tables=[internal_pb2.PullTableRequest(**table) for table in tables]
    )


async def pull(client: Client, message: internal_pb2.PullTablesRequest) -> dict[str, Any]:
    """Returns the last progress of each artifact."""
    return {event.artifact_name: event.progress async for event in client.internal.PullTables(message)}


@pytest.fixture
def artifacts(component: ConnectorComponent, settings: Callable[..., ConnectorSettings]) -> ArtifactStore:
    return ArtifactStore.from_url(settings().artifacts_url)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(condition):
            pass


@pytest.mark.postgres
async def test_postgres_tables_are_of_one_snapshot(
    ada: Client, source: SourceDatabase, artifacts: ArtifactStore
) -> None:
    import psycopg

    source.run("CREATE TABLE a (id int)", "CREATE TABLE b (id int)", "INSERT INTO a VALUES (1)")
    id = (await ada.create(source.config)).id
    tables = [{"location": f"public.{name}", "artifact_name": f"t/{name}"} for name in "ab"]
    with psycopg.connect(source.url) as writer:
        writer.execute("LOCK TABLE b IN ACCESS EXCLUSIVE MODE")
        pulling = asyncio.create_task(pull(ada, request(id, *tables)))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await until(lambda: source.fetch(waiting))
        writer.execute("INSERT INTO a VALUES (2)")
        writer.execute("INSERT INTO b VALUES (2)")
    progress = await pulling
    assert {name: each.rows for name, each in progress.items()} == {"t/a": 1, "t/b": 0}
    assert all(each.done and each.content_sha256 for each in progress.values())
    # What is there is not read again.
    source.run("DROP TABLE a", "DROP TABLE b")
    assert await pull(ada, request(id, *tables)) == progress


async def test_mariadb_tables_are_of_one_snapshot(
    ada: Client, mariadb_server: MariaDbServer, artifacts: ArtifactStore
) -> None:
    import pymysql

    name = f"s{uuid.uuid4().hex[:8]}"
    mariadb_server.run(
        f"CREATE DATABASE {name}", f"CREATE TABLE {name}.a (id int)", f"CREATE TABLE {name}.b (id int)"
    )
    config = {"host": "127.0.0.1", "port": mariadb_server.port, "username": "root"}
    id = (await ada.create(config, type=connector_pb2.CONNECTOR_TYPE_MARIADB)).id
    tables = [{"location": f"{name}.{table}", "artifact_name": f"t/{table}"} for table in "ab"]
    writer = pymysql.connect(host="127.0.0.1", port=mariadb_server.port, user="root", autocommit=True)
    with writer, writer.cursor() as cursor:
        cursor.execute(f"LOCK TABLES {name}.b WRITE")
        pulling = asyncio.create_task(pull(ada, request(id, *tables)))
        waiting = "SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
        await until(lambda: mariadb_server.fetch(waiting))
        await asyncio.to_thread(mariadb_server.run, f"INSERT INTO {name}.a VALUES (2)")
        cursor.execute(f"INSERT INTO {name}.b VALUES (2)")
        cursor.execute("UNLOCK TABLES")
    progress = await pulling
    assert {artifact: each.rows for artifact, each in progress.items()} == {"t/a": 0, "t/b": 0}


BANK = [
    "CREATE TABLE account (id int PRIMARY KEY, k1 text, k2 int)",
    "CREATE TABLE loan (id int PRIMARY KEY, account_id bigint, k1 text, k2 int)",
    "CREATE TABLE payment (id int PRIMARY KEY, loan_id int)",
    "INSERT INTO account SELECT i, 'a' || i % 7, i / 7 FROM generate_series(1, 700) i",
    "INSERT INTO loan SELECT i, nullif(i % 701, 0), 'a' || (i % 701) % 7, (i % 701) / 7 "
    "FROM generate_series(1, 2100) i",
    "INSERT INTO payment SELECT i, i % 2100 + 1 FROM generate_series(1, 6300) i",
]


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("columns", "referenced"),
    [(["account_id"], ["id"]), (["k1", "k2"], ["k1", "k2"])],
    ids=["one", "composite"],
)
async def test_children_follow_the_subjects_of_a_sample(
    ada: Client,
    source: SourceDatabase,
    artifacts: ArtifactStore,
    columns: list[str],
    referenced: list[str],
) -> None:
    source.run(*BANK)
    id = (await ada.create(source.config)).id
    keys = {"artifact_name": "t/account", "columns": columns, "referenced_columns": referenced}
    below = {"artifact_name": "t/loan", "columns": ["loan_id"], "referenced_columns": ["id"]}
    await pull(
        ada,
        request(
            id,
            {"location": "public.account", "artifact_name": "t/account", "max_rows": 70, "seed": 3},
            {"location": "public.loan", "artifact_name": "t/loan", "within": keys},
            {"location": "public.payment", "artifact_name": "t/payment", "within": below},
        ),
    )
    read = {name: artifacts.open(f"t/{name}").table().to_pylist() for name in ("account", "loan", "payment")}
    assert len(read["account"]) == 70
    subjects = {tuple(row[name] for name in referenced) for row in read["account"]}
    everything = [
        dict(zip(("id", "account_id", "k1", "k2"), row, strict=True)) for row in source.fetch("TABLE loan")
    ]
    whole = [row for row in everything if tuple(row[name] for name in columns) in subjects]
    assert sorted(row["id"] for row in read["loan"]) == sorted(row["id"] for row in whole)
    loans = {row["id"] for row in whole}
    assert sorted(row["id"] for row in read["payment"]) == [
        key for key, loan in sorted(source.fetch("TABLE payment")) if loan in loans
    ]


@pytest.mark.postgres
async def test_children_cannot_be_sampled_apart(ada: Client, source: SourceDatabase) -> None:
    source.run(*BANK)
    id = (await ada.create(source.config)).id
    first = {"location": "public.account", "artifact_name": "t/account"}
    keys = {"artifact_name": "t/account", "columns": ["account_id"], "referenced_columns": ["no"]}
    child = {"location": "public.loan", "artifact_name": "t/loan", "within": keys}
    with pytest.raises(InvalidArgument, match="subjects stay whole"):
        await pull(ada, request(id, first, child | {"max_rows": 3}))
    with pytest.raises(InvalidArgument, match="key columns"):
        await pull(ada, request(id, first, child))
