"""TLS of MySQL and MariaDB: who cannot prove to be the named host gets no login, beyond loopback."""

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from simulacra.errors import SourceUnreachable
from simulacra.v1 import connector_pb2
from simulacra_connector.app import create
from tests.certificates import self_signed
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings
from tests.mariadb import MariaDbServer
from tests.require import require

MARIADB = connector_pb2.CONNECTOR_TYPE_MARIADB
USER, PASSWORD = "planted_user", "planted-password"
CIPHER = (
    "SELECT variable_value AS x FROM information_schema.session_status WHERE variable_name = 'ssl_cipher'"
)
SSL_CAPABILITY = 0x800

Connect = Callable[..., Awaitable[Client]]


class TlsServer(MariaDbServer):
    """A server with TLS, whose certificate can be changed."""

    def start(self, *options: str) -> None:
        self.show(self_signed(self._folder, "localhost"))
        files = (f"--ssl-cert={self._folder / 'shown.crt'}", f"--ssl-key={self._folder / 'shown.key'}")
        super().start(*files, *options)
        self.run(f"CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")

    def show(self, files: tuple[Path, Path]) -> None:
        """Takes another certificate and key."""
        for file, name in zip(files, ("shown.crt", "shown.key"), strict=True):
            shutil.copyfile(file, self._folder / name)
            (self._folder / name).chmod(0o644)
        if self._process is not None:
            self.run("FLUSH SSL")


@pytest.fixture(scope="module")
def tls_server() -> Iterator[TlsServer]:
    available = shutil.which("mariadb-install-db") is not None
    require("mariadb", available, "no MariaDB server binaries; apt install mariadb-server brings them")
    with tempfile.TemporaryDirectory(prefix="simulacra-mariadb-") as name:
        server = TlsServer(Path(name))
        yield server
        server.stop()


@pytest.fixture
async def connected(settings: Settings, connect: Callable[..., Client]) -> AsyncIterator[Connect]:
    """Starts a connector service with settings, and returns its client."""
    components = []

    async def make(**changes: Any) -> Client:
        component = await create(settings(**changes))
        components.append(component)
        await component.start()
        return connect(component)

    yield make
    for component in components:
        await component.stop()


class Relay:
    """Stands between a client and a server: keeps what the one says, may change what the other says."""

    def __init__(self, port: int, change: Callable[[int, bytes], bytes]) -> None:
        self.heard = b""
        self._target = port
        self._change = change
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._listen, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def _listen(self, client: socket.socket, server: socket.socket) -> None:
        with server, client, suppress(OSError):
            while data := client.recv(65536):
                self.heard += data
                server.sendall(data)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        position = 0
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(self._change(position, data))
                position += 1


@contextmanager
def relayed(port: int, change: Callable[[int, bytes], bytes] = lambda _, data: data) -> Iterator[Relay]:
    relay = Relay(port, change)
    try:
        yield relay
    finally:
        relay.close()


def without_tls(position: int, data: bytes) -> bytes:
    """Takes the offer of TLS out of the server's greeting, as somebody in between would."""
    if position:
        return data
    flags = data.index(b"\0", 5) + 1 + 4 + 8 + 1  # behind the version, thread, salt and a zero
    offered = int.from_bytes(data[flags : flags + 2], "little")
    assert offered & SSL_CAPABILITY
    return data[:flags] + (offered & ~SSL_CAPABILITY).to_bytes(2, "little") + data[flags + 2 :]


def asking_for_the_password(position: int, data: bytes) -> bytes:
    """Answers a login with the wish for the password in the clear."""
    if position != 1:
        return without_tls(position, data)
    wish = b"\xfemysql_clear_password\0"
    return len(wish).to_bytes(3, "little") + b"\x02" + wish


async def connector(client: Client, port: int, host: str = "localhost") -> str:
    config = {"host": host, "port": port, "username": USER}
    return (await client.create(config, type=MARIADB, secrets={"password": PASSWORD})).id


async def test_server_must_prove_that_it_is_the_host(
    tls_server: TlsServer, connected: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, stranger = self_signed(tmp_path, "localhost"), self_signed(tmp_path, "other.example")
    machine = self_signed(tmp_path, "127.0.0.1")
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(trusted[0].read_bytes() + stranger[0].read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(machine[0]))
    client = await connected(tls_optional_networks=(), source_ca_file=authorities)

    for good, host in ((trusted, "localhost"), (machine, "127.0.0.1")):
        tls_server.show(good)
        answer = await client.query(await connector(client, tls_server.port, host), CIPHER)
        assert answer["x"].to_pylist() != [""]

    (tmp_path / "unknown").mkdir()
    unknown = self_signed(tmp_path / "unknown", "localhost")
    for shown, host, words in (
        (unknown, "localhost", "self-signed"),
        (stranger, "localhost", "localhost"),
        (trusted, "127.0.0.1", "127.0.0.1"),  # the certificate is for the name
    ):
        tls_server.show(shown)
        with relayed(tls_server.port) as relay, pytest.raises(SourceUnreachable, match=words) as caught:
            await connector(client, relay.port, host)
        assert "source_ca_file" in caught.value.message
        assert USER.encode() not in relay.heard


async def test_nothing_of_a_login_is_sent_to_a_server_without_tls(
    tls_server: TlsServer, mariadb_server: MariaDbServer, connected: Connect
) -> None:
    client = await connected(tls_optional_networks=())
    for port, change in ((mariadb_server.port, lambda _, data: data), (tls_server.port, without_tls)):
        with relayed(port, change) as relay, pytest.raises(SourceUnreachable, match="does not offer TLS"):
            await connector(client, relay.port)
        assert relay.heard == b""


async def test_on_loopback_tls_is_used_where_it_is_offered_and_not_demanded(
    tls_server: TlsServer, connected: Connect
) -> None:
    client = await connected()
    answer = await client.query(await connector(client, tls_server.port), CIPHER)
    assert answer["x"].to_pylist() != [""]
    with relayed(tls_server.port, without_tls) as relay:
        answer = await client.query(await connector(client, relay.port), CIPHER)
        assert answer["x"].to_pylist() == [""]
        assert USER.encode() in relay.heard


async def test_password_itself_travels_only_by_tls(tls_server: TlsServer, connected: Connect) -> None:
    client = await connected()
    with (
        relayed(tls_server.port, asking_for_the_password) as relay,
        pytest.raises(SourceUnreachable, match="asks for the password without TLS"),
    ):
        await connector(client, relay.port)
    assert USER.encode() in relay.heard
    assert PASSWORD.encode() not in relay.heard


async def test_server_that_never_answers(connected: Connect) -> None:
    client = await connected(connect_timeout=2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(SourceUnreachable, match="does not answer"):
            await connector(client, silent.getsockname()[1])
        assert time.monotonic() - started < 20


def test_settings_name_what_is_wrong(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for change in (
        {"source_ca_file": tmp_path / "no.pem"},
        {"source_ca_file": tmp_path / "nothing.pem"},
        {"tls_optional_networks": ("10.0.0.1/8",)},
        {"denied_networks": ("here",)},
    ):
        with pytest.raises(ValidationError, match=next(iter(change))):
            settings(**change)
