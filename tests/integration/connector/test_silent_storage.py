"""Azure's storage when it stops answering: nothing waits for it longer than it may."""

import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from simulacra.domain import ConnectorType
from simulacra.errors import SourceUnreachable
from simulacra.v1 import connector_pb2
from simulacra_connector.app import create
from simulacra_connector.drivers import open_session
from simulacra_connector.drivers.base import ReadOptions, Session, SessionOptions, TableStream, WriteMode
from simulacra_connector.types import check_connection
from tests.buckets import AZURITE_KEY, Storage
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings

FIRST, THEN = 1, 2
SILENCE = rf"AZURE_STORAGE did not answer within [{FIRST}{THEN}] s"
ROWS = 200_000


class Door:
    """A way to a storage; while `shut`, connections are taken and stay open, and nothing passes."""

    def __init__(self, storage: Storage) -> None:
        self.shut = False
        self._closed = False
        self.passed = 0
        """Bytes of answers."""
        self.shuts_after: int | None = None
        self._target = int(urlsplit(storage.settings["azure_endpoint"]).port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Opens, and waits for the calls that were left behind: they must not meet the end of the process."""
        self._closed = True
        for thread in threading.enumerate():
            if thread.name == "patience":
                thread.join(60)
                assert not thread.is_alive()
        for end in (self._listener, *self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
                threading.Thread(target=self._carry, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(server, client, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.passed += len(data) if answers else 0
                if self.shuts_after is not None and self.passed > self.shuts_after:
                    self.shut = True
                while self.shut and not self._closed:
                    time.sleep(0.01)
                target.sendall(data)


@pytest.fixture
def door(azure_storage: Storage) -> Iterator[Door]:
    made = Door(azure_storage)
    yield made
    made.close()


@pytest.fixture
def folder(azure_storage: Storage) -> str:
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    azure_storage.filesystem.create_dir(bucket)
    table = rows()
    with azure_storage.filesystem.open_output_stream(f"{bucket}/t/part.parquet") as sink:
        pq.write_table(table, sink, row_group_size=20_000)
    with azure_storage.filesystem.open_output_stream(f"{bucket}/t.csv") as sink:
        pa.csv.write_csv(table, sink)
    return bucket


def rows() -> pa.Table:
    drawn = np.random.default_rng(0).random(ROWS)
    return pa.table({"a": range(ROWS), "b": drawn})


@contextmanager
def session(url: str) -> Iterator[Session]:
    connection = check_connection(
        ConnectorType("AZURE_STORAGE"),
        config={"accountName": "devstoreaccount1"},
        secrets={"accountKey": AZURITE_KEY},
        ssl=None,
    )
    options = SessionOptions(azure_endpoint=url, connect_timeout=FIRST, statement_timeout=THEN)
    with open_session(connection, options) as opened:
        yield opened


@contextmanager
def ends_in(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def read(url: str, location: str, then: Callable[[], Any] = lambda: None) -> int:
    with session(url) as opened, opened.read(location, ReadOptions()) as stream:
        then()
        return sum(batch.num_rows for batch in stream.batches)


async def test_a_storage_that_never_answers(
    door: Door, settings: Settings, connect: Callable[..., Client]
) -> None:
    door.shut = True
    component = await create(settings(azure_endpoint=door.url, connect_timeout=FIRST))
    await component.start()
    try:
        with ends_in(FIRST + 5), pytest.raises(SourceUnreachable, match=SILENCE):
            await connect(component).create(
                {"accountName": "devstoreaccount1"},
                type=connector_pb2.ConnectorType.CONNECTOR_TYPE_AZURE_STORAGE,
                secrets={"accountKey": AZURITE_KEY},
            )
    finally:
        await component.stop()


@pytest.mark.parametrize("location", ["t", "t.csv"])
def test_a_storage_that_falls_silent_within_a_file(door: Door, folder: str, location: str) -> None:
    location = f"{folder}/{location}"
    assert read(door.url, location) == ROWS
    door.shuts_after = door.passed + 2**20
    with ends_in(FIRST + THEN + 5), pytest.raises(SourceUnreachable, match=SILENCE):
        read(door.url, location)


def test_a_storage_that_falls_silent_between_batches(door: Door, folder: str) -> None:
    with ends_in(THEN + 5), pytest.raises(SourceUnreachable, match=SILENCE):
        read(door.url, f"{folder}/t", lambda: setattr(door, "shut", True))


def test_a_storage_that_falls_silent_while_it_is_written_to(
    door: Door, folder: str, azure_storage: Storage
) -> None:
    table = rows()

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches()
        door.shut = True
        yield from table.to_batches()

    with session(door.url) as opened:
        stream = TableStream(table.schema, iter(table.to_batches()))
        assert opened.write(f"{folder}/new", stream, WriteMode.FAIL) == ROWS
        with ends_in(THEN + 4 * FIRST + 5), pytest.raises(SourceUnreachable, match=SILENCE):
            opened.write(f"{folder}/new", TableStream(table.schema, batches()), WriteMode.OVERWRITE)
    assert read(azure_storage.settings["azure_endpoint"], f"{folder}/new") == ROWS


def test_a_call_left_open_does_not_hold_up_the_end_of_the_process() -> None:
    program = (
        "import sys, pyarrow.fs as pafs\n"
        "from simulacra.errors import SourceUnreachable\n"
        "from simulacra_connector.drivers.buckets.patience import Patience\n"
        "from simulacra_connector.drivers.buckets.patient import patient\n"
        "way = dict(blob_storage_authority=sys.argv[1], blob_storage_scheme='http')\n"
        "storage = pafs.AzureFileSystem('devstoreaccount1', account_key=sys.argv[2], **way)\n"
        "try:\n"
        "    patient(storage, Patience('it', first=1, then=1)).get_file_info('a')\n"
        "except SourceUnreachable as error:\n"
        "    print(error.message)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-c", program, address, AZURITE_KEY]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (0, "it did not answer within 1 s\n"), ended.stderr
