"""Files go up in chunks, over broken streams and restarts, and become connectors or nothing."""

import asyncio
import gzip
import io
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from simulacra.artifacts import ArtifactStore
from simulacra.errors import (
    ChecksumMismatch,
    CorruptUpload,
    InvalidArgument,
    LimitExceeded,
    OffsetMismatch,
    ResourceNotFound,
    SimulacraError,
    StorageFull,
)
from simulacra.v1 import common_pb2, connector_pb2, upload_pb2
from simulacra_connector.app import ConnectorComponent, create
from tests.integration.connector.client import Client, upload_messages
from tests.integration.connector.conftest import Settings
from tests.require import require

CSV = b"id,name,born\n1,Ada,1815-12-10\n2,Bob,\n"


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def feather(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pyarrow.feather.write_feather(table, buffer)
    return buffer.getvalue()


TABLE = pa.table({"id": [1, 2], "name": ["Ada", "Bob"]})


@pytest.mark.parametrize(
    ("data", "file_name"),
    [
        (parquet(TABLE), "people.parquet"),
        (feather(TABLE), "people.feather"),
        (b"id,name\n1,Ada\n2,Bob\n", "people.csv"),
        (gzip.compress(b"id,name\n1,Ada\n2,Bob\n"), "people.csv.gz"),
        (b'{"id": 1, "name": "Ada"}\n{"id": 2, "name": "Bob"}\n', "people.jsonl"),
    ],
)
async def test_each_format_becomes_the_same_table(ada: Client, data: bytes, file_name: str) -> None:
    upload = await ada.upload(data, file_name, connector_name="people")
    assert upload.connector.name == "people"
    assert upload.connector.type == connector_pb2.CONNECTOR_TYPE_FILE_UPLOAD
    table = await ada.read(upload.connector.id)
    assert table.to_pydict() == TABLE.to_pydict()


async def test_schema_of_an_upload(ada: Client) -> None:
    upload = await ada.upload(CSV, "/etc/people.csv")
    schema = await ada.connectors.GetSchema(connector_pb2.GetSchemaRequest(id=upload.connector.id))
    assert upload.file_name == "people.csv"
    assert [(column.name, column.original_data_type) for column in schema.columns] == [
        ("id", "int64"),
        ("name", "string"),
        ("born", "date32[day]"),
    ]
    assert schema.total_rows == 2
    locations = await ada.connectors.ListLocations(connector_pb2.ListLocationsRequest(id=upload.connector.id))
    assert list(locations.locations) == ["people.csv"]


async def test_pull_of_an_upload(ada: Client, settings: Settings) -> None:
    rows = "".join(f"{number},x\n" for number in range(1000))
    upload = await ada.upload(f"id,c\n{rows}".encode(), "a.csv")
    events = await ada.pull(upload.connector.id, "training/j/1", columns=["id"], max_rows=10, seed=3)
    assert (events[-1].done, events[-1].rows, events[-1].total_rows) == (True, 10, 10)
    table = ArtifactStore.from_url(settings().artifacts_url).open("training/j/1").table()
    assert table.column_names == ["id"]
    assert len(set(table.column("id").to_pylist())) == 10


async def test_broken_stream_goes_on_after_a_restart(
    settings: Settings, connect: Callable[..., Client]
) -> None:
    data = b"id\n" + b"".join(b"%d\n" % number for number in range(400_000))
    first = await create(settings())
    await first.start()
    try:
        state = await connect(first).upload(data[: 1 << 20], "n.csv", upload_id="u", finish=False)
        assert state.committed_size == 1 << 20
        assert not state.HasField("connector")
    finally:
        await first.stop()
    second = await create(settings())
    await second.start()
    try:
        client = connect(second)
        state = await client.uploads.GetUpload(upload_pb2.GetUploadRequest(id="u"))
        assert state.committed_size == 1 << 20
        assert state.HasField("expires_at")
        messages = upload_messages(data, "n.csv", upload_id="u", start=state.committed_size)
        done = await client.uploads.Upload(messages, timeout=60)
        assert (await client.read(done.connector.id)).num_rows == 400_000
        again = await client.upload(data, "n.csv", upload_id="u")
        assert again.connector.id == done.connector.id
    finally:
        await second.stop()


async def test_chunk_at_a_wrong_offset_names_the_right_one(ada: Client) -> None:
    await ada.upload(CSV[:10], "a.csv", upload_id="u", finish=False)
    with pytest.raises(OffsetMismatch) as caught:
        await ada.uploads.Upload(upload_messages(CSV, "a.csv", upload_id="u", start=3))
    assert caught.value.metadata["committed_size"] == "10"


async def test_truncated_upload_is_not_finished(ada: Client) -> None:
    with pytest.raises(OffsetMismatch):
        await ada.upload(CSV, "a.csv", upload_id="u", total_size=len(CSV) + 1)
    state = await ada.uploads.GetUpload(upload_pb2.GetUploadRequest(id="u"))
    assert state.committed_size == len(CSV)


async def test_wrong_checksum_leaves_nothing(ada: Client) -> None:
    with pytest.raises(ChecksumMismatch):
        await ada.uploads.Upload(upload_messages(CSV, "a.csv", upload_id="u", sha256="0" * 64))
    with pytest.raises(ResourceNotFound):
        await ada.uploads.GetUpload(upload_pb2.GetUploadRequest(id="u"))
    page = await ada.connectors.ListConnectors(connector_pb2.ListConnectorsRequest())
    assert page.total_count == 0


@pytest.mark.parametrize(
    ("data", "file_name", "words"),
    [
        (b"", "a.csv", "empty"),
        (b"a,b\n1,2\n3,4,5\n", "a.csv", "line 3"),
        (b'a,b\n1,"x\ny\nz\n', "a.csv", "line 2"),
        (b"PAR1 no parquet PAR1", "a.parquet", "a.parquet"),
        (parquet(TABLE)[:-20], "a.parquet", "a.parquet"),
        (feather(TABLE)[:-40], "a.feather", "a.feather"),
        (gzip.compress(CSV)[:-9], "a.csv.gz", "gzip"),
        (b'{"a": 1}\n{"a":\n', "a.jsonl", "line 2"),
        (b"\x00\x01\x02\x03", "a.csv", "zero bytes"),
    ],
)
async def test_corrupt_file_says_what_is_wrong(
    ada: Client, component: ConnectorComponent, data: bytes, file_name: str, words: str
) -> None:
    with pytest.raises(CorruptUpload, match=words) as caught:
        await ada.upload(data, file_name)
    assert caught.value.metadata["file_name"] == file_name
    page = await ada.connectors.ListConnectors(connector_pb2.ListConnectorsRequest())
    assert page.total_count == 0


async def test_gzip_bomb_is_bounded(settings: Settings, connect: Callable[..., Client]) -> None:
    component = await create(settings(max_expanded_bytes=1 << 20))
    await component.start()
    try:
        bomb = gzip.compress(b"a\n" + b"0\n" * (8 << 20))
        with pytest.raises(LimitExceeded, match="unpacks to more"):
            await connect(component).upload(bomb, "a.csv.gz")
    finally:
        await component.stop()


async def test_file_over_the_limit_is_refused_at_once(
    settings: Settings, connect: Callable[..., Client]
) -> None:
    component = await create(settings(max_upload_bytes=100))
    await component.start()
    try:
        client = connect(component)
        with pytest.raises(LimitExceeded):
            await client.upload(b"", "a.csv", total_size=101)
        with pytest.raises(LimitExceeded):
            await client.upload(b"a\n" * 51, "a.csv")
    finally:
        await component.stop()


@pytest.mark.parametrize(
    ("upload_id", "file_name"), [("../u", "a.csv"), ("u", "a.exe"), ("u", ".csv"), ("", "a.csv")]
)
async def test_bad_header_is_refused(ada: Client, upload_id: str, file_name: str) -> None:
    with pytest.raises(InvalidArgument):
        await ada.uploads.Upload(upload_messages(CSV, file_name, upload_id=upload_id))


async def test_a_negative_size_is_refused_at_once(ada: Client) -> None:
    with pytest.raises(InvalidArgument, match="total_size: must be 0 or more, got -1"):
        await ada.upload(CSV, "a.csv", upload_id="u", total_size=-1)
    with pytest.raises(ResourceNotFound):
        await ada.uploads.GetUpload(upload_pb2.GetUploadRequest(id="u"))


async def test_an_upload_that_goes_on_need_not_name_its_file_again(ada: Client) -> None:
    await ada.upload(CSV, "people.csv", upload_id="u", finish=False)
    with pytest.raises(InvalidArgument, match=r"people\.csv"):
        await ada.upload(b"", "others.csv", upload_id="u")
    done = await ada.uploads.Upload(upload_messages(CSV, "", upload_id="u", start=len(CSV)))
    assert (done.file_name, done.connector.name) == ("people.csv", "people.csv")


async def test_a_finished_upload_knows_its_size(ada: Client) -> None:
    await ada.upload(CSV, "a.csv", upload_id="u")
    state = await ada.uploads.GetUpload(upload_pb2.GetUploadRequest(id="u"))
    assert (state.committed_size, state.total_size) == (len(CSV), len(CSV))


@pytest.mark.parametrize(
    ("header", "field"),
    [({"file_name": "\x1b[31m.csv"}, "file_name"), ({"connector_name": "a\nb"}, "connector_name")],
)
async def test_names_have_no_control_characters(ada: Client, header: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        await ada.upload(CSV, **{"file_name": "a.csv", **header})
    assert [violation.field for violation in error.value.violations] == [field]


@pytest.fixture
def small_spool(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes, for uploads alone."""
    folder = tmp_path / "connector" / "uploads"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    require("small_disk", mounted, "only root can mount the small disk that this test fills")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_an_upload_that_does_not_fit_gives_its_space_back(
    small_spool: Path, settings: Settings, connect: Callable[..., Client]
) -> None:
    component = await create(settings())
    await component.start()
    try:
        client = connect(component)
        rows = b"number\n" + b"1234567\n" * 200_000
        with pytest.raises(StorageFull, match="free some disk space"):
            await client.upload(rows * 2, "large.csv", upload_id="u")
        with pytest.raises(ResourceNotFound):
            await client.uploads.GetUpload(upload_pb2.GetUploadRequest(id="u"))
        assert files_in(small_spool) == []
        with pytest.raises(StorageFull, match="3,000,000 bytes more, and the disk has"):
            await client.upload(b"", "larger.csv", upload_id="v", finish=False, total_size=3_000_000)
        assert files_in(small_spool) == []
        done = await client.upload(rows, "fits.csv", upload_id="u", total_size=len(rows))
        assert done.committed_size == len(rows)
        assert (await client.upload(rows, "fits.csv", upload_id="u")).connector.id == done.connector.id
    finally:
        await component.stop()


async def test_header_must_come_first(ada: Client) -> None:
    async def messages() -> AsyncIterator[upload_pb2.UploadRequest]:
        yield upload_pb2.UploadRequest(chunk=common_pb2.Chunk(offset=0, data=b"x"))

    with pytest.raises(InvalidArgument, match="header"):
        await ada.uploads.Upload(messages())


async def test_uploads_are_private(ada: Client, bob: Client) -> None:
    upload = await ada.upload(CSV, "a.csv", upload_id="u")
    with pytest.raises(ResourceNotFound):
        await bob.uploads.GetUpload(upload_pb2.GetUploadRequest(id="u"))
    with pytest.raises(ResourceNotFound):
        await bob.read(upload.connector.id)
    own = await bob.upload(CSV, "a.csv", upload_id="u")
    assert own.connector.id != upload.connector.id


async def test_newer_stream_takes_an_upload_over(ada: Client) -> None:
    begun = asyncio.Event()
    release = asyncio.Event()

    async def slow() -> AsyncIterator[upload_pb2.UploadRequest]:
        async for message in upload_messages(CSV[:10], "a.csv", upload_id="u", finish=False):
            yield message
        begun.set()
        await release.wait()
        yield upload_pb2.UploadRequest(chunk=common_pb2.Chunk(offset=10, data=b"x"))

    old = asyncio.ensure_future(ada.uploads.Upload(slow()))
    await begun.wait()
    while True:
        try:
            state = await ada.uploads.GetUpload(upload_pb2.GetUploadRequest(id="u"))
        except ResourceNotFound:
            continue
        if state.committed_size == 10:
            break
    done = await ada.uploads.Upload(upload_messages(CSV, "a.csv", upload_id="u", start=10), timeout=60)
    release.set()
    with pytest.raises(SimulacraError, match="another stream"):
        await old
    assert (await ada.read(done.connector.id)).num_rows == 2


async def test_expired_uploads_are_swept(ada: Client, component: ConnectorComponent) -> None:
    await ada.upload(CSV[:10], "a.csv", upload_id="old", finish=False)
    await ada.upload(CSV[:10], "a.csv", upload_id="new", finish=False)
    spool = component.uploads._spool
    tomorrow = datetime.now(UTC) + timedelta(hours=25)
    component.uploads._clock = lambda: tomorrow
    os.utime(spool.path("ada", "new"), (tomorrow.timestamp(), tomorrow.timestamp() - 3600))
    await component.uploads.sweep()
    with pytest.raises(ResourceNotFound):
        await ada.uploads.GetUpload(upload_pb2.GetUploadRequest(id="old"))
    assert (await ada.uploads.GetUpload(upload_pb2.GetUploadRequest(id="new"))).committed_size == 10


async def test_deleting_the_connector_deletes_the_file(
    ada: Client, component: ConnectorComponent, settings: Settings
) -> None:
    upload = await ada.upload(CSV, "a.csv")
    folder = Path(settings().data_dir) / "artifacts" / "uploads"
    assert list(folder.iterdir())
    await ada.connectors.DeleteConnector(connector_pb2.DeleteConnectorRequest(id=upload.connector.id))
    assert not list(folder.iterdir())
