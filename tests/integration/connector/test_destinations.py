"""A delivery that cannot work is refused when it is asked for; asking leaves nothing at the destination."""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pyarrow.fs as pafs
import pytest

from simulacra.errors import AlreadyExists, InvalidArgument, LocationNotFound, PermissionDenied
from simulacra.v1 import connector_pb2, internal_pb2
from simulacra_connector.app import create
from tests.buckets import Storage
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings, SourceDatabase
from tests.mariadb import MariaDbServer

DESTINATION = connector_pb2.CONNECTOR_ACCESS_TYPE_DESTINATION
OVERWRITE, APPEND = {"overwrite_tables": True}, {"append_to_tables": True}
MODES: list[dict[str, bool]] = [{}, OVERWRITE, APPEND]


async def check(client: Client, id: str, location: str, *names: str, **mode: Any) -> None:
    """Asks for a delivery without making it."""
    tables = [internal_pb2.DeliverTable(name=name) for name in names or ("t",)]
    request = internal_pb2.DeliverTablesRequest(
        connector_id=id, location=location, tables=tables, validate_only=True, **mode
    )
    assert [event async for event in client.internal.DeliverTables(request)] == []


@pytest.fixture(params=["s3_storage", "google_storage", "azure_storage"])
def storage(request: pytest.FixtureRequest) -> Storage:
    found: Storage = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def client(
    storage: Storage, settings: Settings, connect: Callable[..., Client]
) -> AsyncIterator[Client]:
    component = await create(settings(**storage.settings))
    await component.start()
    yield connect(component)
    await component.stop()


async def bucket_connector(client: Client, storage: Storage) -> str:
    type = connector_pb2.ConnectorType.Value(f"CONNECTOR_TYPE_{storage.type}")
    made = await client.create(storage.config, type=type, secrets=storage.secrets, access_type=DESTINATION)
    return str(made.id)


def everything(storage: Storage, bucket: str) -> list[str]:
    """All that a bucket holds, empty folders too."""
    selector = pafs.FileSelector(bucket, recursive=True)
    return sorted(info.path for info in storage.filesystem.get_file_info(selector))


async def test_a_bucket_must_be_there(client: Client, storage: Storage) -> None:
    id = await bucket_connector(client, storage)
    for location in ("no-such-bucket-here", "no-such-bucket-here/a/b"):
        with pytest.raises(LocationNotFound, match=r"no-such-bucket-here.*make it first"):
            await check(client, id, location)
    found = storage.filesystem.get_file_info("no-such-bucket-here").type
    assert found == pafs.FileType.NotFound


async def test_asking_leaves_a_bucket_as_it_was(client: Client, storage: Storage) -> None:
    bucket = f"b{uuid.uuid4().hex[:8]}"
    storage.filesystem.create_dir(bucket)
    id = await bucket_connector(client, storage)
    for location in (bucket, f"{bucket}/out", f"{bucket}/out/deep"):
        await check(client, id, location)
        assert everything(storage, bucket) == []
    storage.filesystem.create_dir(f"{bucket}/there")
    with storage.filesystem.open_output_stream(f"{bucket}/there/t/part.parquet") as sink:
        sink.write(b"x")
    before = everything(storage, bucket)
    await check(client, id, f"{bucket}/there/new", "t")
    await check(client, id, f"{bucket}/there", "t", **OVERWRITE)
    with pytest.raises(AlreadyExists, match=f"{bucket}/there/t"):
        await check(client, id, f"{bucket}/there", "other", "t")
    with pytest.raises(InvalidArgument, match=r"part\.parquet is a file"):
        await check(client, id, f"{bucket}/there/t/part.parquet")
    assert everything(storage, bucket) == before


async def test_a_folder_must_be_writable(ada: Client, s3_storage: Storage) -> None:
    import boto3  # type: ignore[import-untyped]

    bucket = f"b{uuid.uuid4().hex[:8]}"
    s3_storage.filesystem.create_dir(bucket)
    api = boto3.client(
        "s3",
        endpoint_url=s3_storage.config["endpointUrl"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
    )
    denied = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/closed/*",
    }
    api.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
    id = await bucket_connector(ada, s3_storage)
    with pytest.raises(PermissionDenied, match=f"written to {bucket}/closed; let .* or give another"):
        await check(ada, id, f"{bucket}/closed")
    await check(ada, id, f"{bucket}/open")
    assert everything(s3_storage, bucket) == []


SHAPE = (
    "SELECT c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname IN ('public', 'closed') ORDER BY 1"
)


@pytest.fixture
def writer(source: SourceDatabase) -> SourceDatabase:
    """The same database, for a user who owns nothing."""
    role = f"writer_{uuid.uuid4().hex[:8]}"
    source.run(
        f"CREATE ROLE {role} LOGIN",
        "CREATE SCHEMA closed",
        f"GRANT USAGE ON SCHEMA closed, public TO {role}",
        "CREATE TABLE t (id int PRIMARY KEY)",
        "CREATE TABLE closed.t (id int)",
    )
    source.config["username"] = role
    return source


@pytest.mark.postgres
async def test_a_postgres_user_must_be_allowed(ada: Client, writer: SourceDatabase) -> None:
    id = (await ada.create(writer.config, access_type=DESTINATION)).id
    role, before = writer.config["username"], writer.fetch(SHAPE)
    for mode in MODES:
        with pytest.raises(PermissionDenied, match=f"{role}.*make tables in schema closed.*grant CREATE"):
            await check(ada, id, "closed", "new", **mode)
    writer.run(f"GRANT CREATE ON SCHEMA public, closed TO {role}")
    await check(ada, id, "closed", "new")
    with pytest.raises(PermissionDenied, match=r"does not own t, as one must to replace public\.t"):
        await check(ada, id, "public", "t", **OVERWRITE)
    with pytest.raises(PermissionDenied, match=r"add rows to public\.t; grant INSERT"):
        await check(ada, id, "public", "t", **APPEND)
    writer.run(f"GRANT INSERT ON t TO {role}")
    await check(ada, id, "public", "t", "new", **APPEND)
    writer.run("CREATE TABLE refers (t int REFERENCES t)", f"ALTER TABLE t OWNER TO {role}")
    with pytest.raises(PermissionDenied, match=r"does not own refers"):
        await check(ada, id, "public", "t", **OVERWRITE)
    writer.run("DROP TABLE refers")
    await check(ada, id, "public", "t", **OVERWRITE)
    assert writer.fetch(SHAPE) == before
    writer.run(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    with pytest.raises(PermissionDenied, match="only reads"):
        await check(ada, id, "public", "new")
    with pytest.raises(LocationNotFound, match="nowhere"):
        await check(ada, id, "nowhere")


@pytest.mark.postgres
async def test_what_keeps_a_table_from_being_replaced_is_named_when_asked(
    ada: Client, source: SourceDatabase
) -> None:
    source.run(
        "CREATE TABLE seen (id int)",
        "CREATE VIEW sees AS SELECT id FROM seen",
        "CREATE TABLE parts (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE mother (id int)",
        "CREATE TABLE daughter () INHERITS (mother)",
        "CREATE TABLE published (id int PRIMARY KEY)",
        "CREATE PUBLICATION news FOR TABLE published",
        "CREATE TABLE ruled (id int)",
        "CREATE RULE quiet AS ON DELETE TO ruled DO INSTEAD NOTHING",
    )
    id = (await ada.create(source.config, access_type=DESTINATION)).id
    for name, words in {
        "seen": r"public\.seen cannot be replaced, for it is what view sees reads",
        "parts": r"public\.parts is no plain table but a partitioned table",
        "part": "partition or child of parts",
        "mother": "parent of daughter",
        "daughter": "child of mother",
        "published": "in publication news",
        "ruled": "rule quiet",
        "sees": "no plain table but a view",
    }.items():
        with pytest.raises(AlreadyExists, match=words):
            await check(ada, id, "public", name, **OVERWRITE)
        with pytest.raises(AlreadyExists, match=rf"public\.{name} is there already"):
            await check(ada, id, "public", name)
        if name != "sees":
            await check(ada, id, "public", name, **APPEND)


async def test_a_mariadb_user_must_be_allowed(ada: Client, mariadb_server: MariaDbServer) -> None:
    name, user = f"p{uuid.uuid4().hex[:8]}", f"u{uuid.uuid4().hex[:8]}"
    mariadb_server.run(
        f"CREATE DATABASE {name}",
        f"CREATE TABLE {name}.t (id int PRIMARY KEY, twice int AS (id * 2) STORED) "
        "PARTITION BY HASH (id) PARTITIONS 2",
        f"INSERT INTO {name}.t (id) VALUES (1)",
        f"CREATE TABLE {name}.old (id int) ENGINE = MyISAM",
        f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'p'",
        f"GRANT SELECT ON {name}.* TO {user}@'127.0.0.1'",
    )
    config = {"host": "127.0.0.1", "port": mariadb_server.port, "username": user}
    kind = {"type": connector_pb2.CONNECTOR_TYPE_MARIADB, "access_type": DESTINATION}
    id = (await ada.create(config, secrets={"password": "p"}, **kind)).id
    granted = ["", "DROP, CREATE", "ALTER, INSERT", "DELETE", "CREATE TEMPORARY TABLES"]
    for privileges in granted:
        if privileges:
            mariadb_server.run(f"GRANT {privileges} ON {name}.* TO {user}@'127.0.0.1'")
        if privileges != granted[-1]:
            with pytest.raises(PermissionDenied, match=f"delivered to {name}: .* denied .*give another"):
                await check(ada, id, name, "t", "new", **OVERWRITE)
    await check(ada, id, name, "t", "new", **OVERWRITE)
    await check(ada, id, name, "new")
    with pytest.raises(AlreadyExists, match=rf"{name}\.t is there already"):
        await check(ada, id, name, "t")
    with pytest.raises(InvalidArgument, match="MyISAM"):
        await check(ada, id, name, "old", **APPEND)
    with pytest.raises(LocationNotFound, match="nowhere"):
        await check(ada, id, "nowhere")
    assert sorted(mariadb_server.fetch(f"SHOW TABLES FROM {name}")) == [("old",), ("t",)]
    assert mariadb_server.fetch(f"SELECT count(*) FROM {name}.t") == [(1,)]
