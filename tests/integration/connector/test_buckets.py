"""Buckets through the service, against a stand-in for each cloud's storage."""

import base64
import datetime
import io
import re
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from simulacra.errors import (
    AlreadyExists,
    CorruptUpload,
    InvalidArgument,
    LocationNotFound,
    PermissionDenied,
    SimulacraError,
    SourceAuthenticationFailed,
    SourceUnreachable,
    UnsupportedData,
)
from simulacra.v1 import connector_pb2
from simulacra_connector.app import create
from tests.buckets import Storage, s3_of_region
from tests.certificates import self_signed
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings
from tests.integration.connector.test_writing import DESTINATION, ipc, messages, write


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


class Bucket:
    """A bucket of a test's own."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.name = f"bucket-{uuid.uuid4().hex[:8]}"
        storage.filesystem.create_dir(self.name)

    def put(self, path: str, data: bytes) -> None:
        with self.storage.filesystem.open_output_stream(f"{self.name}/{path}") as sink:
            sink.write(data)

    def files(self) -> list[str]:
        infos = self.storage.filesystem.get_file_info(pafs.FileSelector(self.name, recursive=True))
        return sorted(info.path.partition("/")[2] for info in infos if info.type == pafs.FileType.File)


@pytest.fixture
def bucket(storage: Storage) -> Bucket:
    return Bucket(storage)


async def connector(client: Client, storage: Storage, **fields: Any) -> str:
    type = connector_pb2.ConnectorType.Value(f"CONNECTOR_TYPE_{storage.type}")
    return (await client.create(storage.config, type=type, secrets=storage.secrets, **fields)).id


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("location", ["{}/../other/t", "{}/./t", "{}//t", "s3://{}/t", "file:/etc/passwd"])
async def test_a_location_does_not_leave_its_bucket(
    client: Client, storage: Storage, bucket: Bucket, location: str
) -> None:
    id = await connector(client, storage)
    location = location.format(bucket.name)
    with pytest.raises(InvalidArgument, match="location"):
        await client.read(id, location)
    with pytest.raises(InvalidArgument, match="location"):
        await client.connectors.ListLocations(connector_pb2.ListLocationsRequest(id=id, prefix=location))
    destination = await connector(client, storage, access_type=DESTINATION)
    with pytest.raises(InvalidArgument, match="location"):
        await write(client, destination, pa.table({"a": [1]}), location)


async def test_locations_are_buckets_folders_and_files(
    client: Client, storage: Storage, bucket: Bucket
) -> None:
    bucket.put("sales/2024/part-0.parquet", parquet(pa.table({"a": [1]})))
    bucket.put("sales/readme.csv", b"a\n1\n")
    bucket.put("top.csv", b"a\n1\n")
    id = await connector(client, storage)

    async def below(prefix: str) -> list[str]:
        request = connector_pb2.ListLocationsRequest(id=id, prefix=prefix)
        return list((await client.connectors.ListLocations(request)).locations)

    assert bucket.name in await below("")
    assert await below(bucket.name) == [f"{bucket.name}/sales/", f"{bucket.name}/top.csv"]
    assert await below(f"{bucket.name}/sales/") == [
        f"{bucket.name}/sales/2024/",
        f"{bucket.name}/sales/readme.csv",
    ]
    assert await below(f"{bucket.name}/top.csv") == [f"{bucket.name}/top.csv"]
    assert await below(f"{bucket.name}/nothing") == []


async def test_file_folder_and_pattern_are_tables(client: Client, storage: Storage, bucket: Bucket) -> None:
    for number in range(3):
        bucket.put(f"t/part-{number}.parquet", parquet(pa.table({"n": [number], "x": ["a"]})))
    bucket.put("t/_SUCCESS", b"")
    bucket.put("t/.hidden/part-9.parquet", parquet(pa.table({"other": [1]})))
    bucket.put("people.csv", b"id,born\n007,2024-01-01\n8,\n")
    id = await connector(client, storage)
    assert (await client.read(id, f"{bucket.name}/t")).to_pydict() == {"n": [0, 1, 2], "x": ["a"] * 3}
    assert (await client.read(id, f"{bucket.name}/t/part-[12]*", columns=["n"], max_rows=1)).num_rows == 1
    assert (await client.read(id, f"{bucket.name}/t/*-1.parquet")).to_pydict() == {"n": [1], "x": ["a"]}
    bucket.put("t*/a?[1].csv", b"a\n1\n")
    bucket.put("t*/ab[1].csv", b"a\n2\n")
    assert (await client.read(id, f"{bucket.name}/t*/a?[1].csv")).to_pydict() == {"a": [1]}
    assert (await client.read(id, f"{bucket.name}/t*")).to_pydict() == {"a": [1, 2]}
    assert (await client.read(id, f"{bucket.name}/t*/*b[1].csv")).to_pydict() == {"a": [2]}
    people = await client.read(id, f"{bucket.name}/people.csv")
    assert people.to_pydict() == {"id": ["007", "8"], "born": [datetime.date(2024, 1, 1), None]}
    schema = await client.connectors.GetSchema(
        connector_pb2.GetSchemaRequest(id=id, location=f"{bucket.name}/t")
    )
    assert ([c.name for c in schema.columns], schema.total_rows) == (["n", "x"], 3)
    sample = await client.read(id, f"{bucket.name}/t", max_rows=2, seed=1)
    assert sample.num_rows == 2
    [*_, last] = await client.pull(id, "a/b", f"{bucket.name}/t")
    assert (last.done, last.rows) == (True, 3)


async def test_what_is_wrong_is_named(client: Client, storage: Storage, bucket: Bucket) -> None:
    bucket.put("mixed/a.parquet", parquet(pa.table({"n": [1]})))
    bucket.put("mixed/b.parquet", parquet(pa.table({"n": ["x"]})))
    bucket.put("both/a.csv", b"a\n1\n")
    bucket.put("both/b.parquet", parquet(pa.table({"n": [1]})))
    bucket.put("bad.csv", b"a,b\n1,2\n3\n")
    bucket.put("bad.parquet", b"PAR1 nothing PAR1")
    id = await connector(client, storage)
    wrong: list[tuple[str, type[SimulacraError], str]] = [
        ("mixed", UnsupportedData, '"n"'),
        ("both", UnsupportedData, "several formats"),
        ("bad.csv", CorruptUpload, "line 3"),
        ("bad.parquet", CorruptUpload, r"bad\.parquet"),
        ("nothing.csv", LocationNotFound, r"nothing\.csv"),
        ("nothing/*", LocationNotFound, "nothing"),
        ("../*/x.csv", InvalidArgument, "location"),
    ]
    for path, error, words in wrong:
        with pytest.raises(error, match=words):
            await client.read(id, f"{bucket.name}/{path}")
    with pytest.raises(LocationNotFound):
        await client.read(id, "no-such-bucket-at-all/x.csv")
    with pytest.raises(InvalidArgument, match="name the bucket"):
        await client.read(id, "*/x.csv")


async def test_writing_is_staged_and_replaces_only_when_asked(
    client: Client, storage: Storage, bucket: Bucket
) -> None:
    id = await connector(client, storage, access_type=DESTINATION)
    table = pa.table({"n": range(100_000), "t": ["x"] * 100_000})
    assert await write(client, id, table, f"{bucket.name}/out/t") == 100_000
    before = bucket.files()
    assert [re.sub("[0-9a-f]{12}", "X", name) for name in before] == ["out/t/part-X-00000.parquet"]
    with pytest.raises(AlreadyExists):
        await write(client, id, table, f"{bucket.name}/out/t")
    data = ipc(table)
    broken = messages(data[: len(data) // 2], id=id, location=f"{bucket.name}/out/t", overwrite=True)
    with pytest.raises(CorruptUpload):
        await client.connectors.WriteData(broken, timeout=60)
    reader = await connector(client, storage)
    assert bucket.files() == before
    assert (await client.read(reader, f"{bucket.name}/out/t")).num_rows == 100_000
    await write(client, id, pa.table({"m": [1]}), f"{bucket.name}/out/t", overwrite=True)
    assert (await client.read(reader, f"{bucket.name}/out/t")).to_pydict() == {"m": [1]}
    await write(client, id, table.slice(0, 0), f"{bucket.name}/empty")
    assert (await client.read(reader, f"{bucket.name}/empty")).num_rows == 0
    with pytest.raises(PermissionDenied):
        await write(client, reader, table, f"{bucket.name}/x")
    with pytest.raises(InvalidArgument, match="bucket/path"):
        await write(client, id, table, bucket.name)


async def test_query_is_for_databases(client: Client, storage: Storage) -> None:
    id = await connector(client, storage)
    with pytest.raises(InvalidArgument, match="SQL"):
        await client.query(id, "SELECT 1")


async def test_s3_takes_no_authority_for_a_way_in_the_clear(ada: Client, tmp_path: Path) -> None:
    authority = base64.b64encode(self_signed(tmp_path, "localhost")[0].read_bytes()).decode()
    with pytest.raises(InvalidArgument, match="reached by http"):
        await ada.create(
            {"accessKey": "k", "endpointUrl": "127.0.0.1:1"},
            type=connector_pb2.CONNECTOR_TYPE_S3_STORAGE,
            secrets={"secretKey": "s"},
            ssl={"caCertificate": authority},
        )


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"endpointUrl": "http://127.0.0.1:1"}, SourceUnreachable),
        ({"endpointUrl": "https://127.0.0.1:1"}, SourceUnreachable),
        ({"endpointUrl": "file:///etc/passwd"}, InvalidArgument),
        ({"endpointUrl": "http://user@host/path"}, InvalidArgument),
        ({"endpointUrl": "http://127.0.0.1:port"}, InvalidArgument),
        ({"endpointUrl": "http://169.254.169.254"}, PermissionDenied),
    ],
)
async def test_s3_endpoint_that_cannot_be_used(
    ada: Client, config: dict[str, Any], error: type[SimulacraError]
) -> None:
    with pytest.raises(error) as caught:
        await ada.create(
            {"accessKey": "k"} | config,
            type=connector_pb2.CONNECTOR_TYPE_S3_STORAGE,
            secrets={"secretKey": "planted-secret"},
        )
    assert "planted-secret" not in caught.value.message


async def test_s3_is_asked_for_the_region_of_a_bucket(ada: Client, s3_storage: Storage) -> None:
    bucket = Bucket(s3_storage)
    bucket.put("t/a.parquet", parquet(pa.table({"n": [1]})))
    with s3_of_region(s3_storage, "eu-central-1") as url:
        made = await ada.create(
            s3_storage.config | {"endpointUrl": url},
            type=connector_pb2.CONNECTOR_TYPE_S3_STORAGE,
            secrets=s3_storage.secrets,
        )
        request = connector_pb2.ListLocationsRequest(id=made.id, prefix=bucket.name)
        assert list((await ada.connectors.ListLocations(request)).locations) == [f"{bucket.name}/t/"]
        assert (await ada.read(made.id, f"{bucket.name}/t")).to_pydict() == {"n": [1]}


async def test_azure_refuses_a_wrong_key(
    azure_storage: Storage, settings: Settings, connect: Callable[..., Client]
) -> None:
    component = await create(settings(**azure_storage.settings))
    await component.start()
    try:
        with pytest.raises(SourceAuthenticationFailed):
            await connect(component).create(
                azure_storage.config,
                type=connector_pb2.CONNECTOR_TYPE_AZURE_STORAGE,
                secrets={"accountKey": "d3Jvbmc="},
            )
    finally:
        await component.stop()


async def test_google_key_must_be_one(ada: Client) -> None:
    with pytest.raises(InvalidArgument, match="service account"):
        await ada.create(
            {}, type=connector_pb2.CONNECTOR_TYPE_GOOGLE_CLOUD_STORAGE, secrets={"keyFile": "no key"}
        )
