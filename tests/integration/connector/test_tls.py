"""TLS of PostgreSQL and S3: servers and clients prove who they are by certificates."""

import base64
import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from simulacra.errors import SourceAuthenticationFailed, SourceUnreachable
from simulacra.v1 import connector_pb2
from tests.buckets import s3_with_tls
from tests.certificates import self_signed
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import SourceDatabase
from tests.integration.connector.test_writing import DESTINATION, write
from tests.postgres import postgres_binaries, running_postgres
from tests.require import require

S3 = connector_pb2.CONNECTOR_TYPE_S3_STORAGE
ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


def encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


class TlsDatabase(SourceDatabase):
    """A database on a server with TLS, whose user `certified` needs a client's certificate."""

    def __init__(self, url: str, certificates: Path) -> None:
        super().__init__(url)
        self.server, self.client = self_signed(certificates, "localhost"), self_signed(certificates, "client")
        [(folder,)] = self.fetch("SHOW unix_socket_directories")
        [(rules,)] = self.fetch("SHOW hba_file")
        shown = {
            "ssl_cert_file": self.server[0],
            "ssl_key_file": self.server[1],
            "ssl_ca_file": self.client[0],
        }
        for setting, file in shown.items():
            place = Path(folder, setting)
            shutil.copyfile(file, place)
            place.chmod(0o600)
            if os.geteuid() == 0:
                entry = pwd.getpwnam("postgres")
                os.chown(place, entry.pw_uid, entry.pw_gid)
            self.run(f"ALTER SYSTEM SET {setting} = '{place}'")
        rule = "hostssl all certified 127.0.0.1/32 trust clientcert=verify-ca\n"
        Path(rules).write_text(rule + Path(rules).read_text())
        self.run(
            "CREATE ROLE certified LOGIN SUPERUSER", "ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"
        )
        self.config |= {"host": "localhost", "sslEnabled": True}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsDatabase]:
    binaries = postgres_binaries()
    require("postgres", binaries is not None, "no Postgres server binaries")
    assert binaries is not None
    with running_postgres(binaries) as server:
        yield TlsDatabase(server.new_database(), tmp_path_factory.mktemp("certificates"))


@pytest.mark.postgres
async def test_postgres_must_prove_that_it_is_the_host(
    ada: Client,
    secured: TlsDatabase,
    source: SourceDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = {"rootCertificate": encoded(secured.server[0])}
    made = await ada.create(secured.config, ssl=root)
    assert (await ada.query(made.id, ENCRYPTED)).to_pydict() == {"ssl": [True]}
    unknown = {"rootCertificate": encoded(self_signed(tmp_path, "localhost")[0])}
    for config, ssl in (
        (secured.config, unknown),
        (secured.config, {}),  # this machine does not know the authority either
        (secured.config | {"host": "127.0.0.1"}, root),  # the certificate is for the name
        (source.config | {"sslEnabled": True}, root),  # a server without TLS
    ):
        with pytest.raises(SourceUnreachable, match="cannot prove who it is"):
            await ada.create(config, ssl=ssl)
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.server[0]))
    assert await ada.create(secured.config)


@pytest.mark.postgres
async def test_postgres_wants_a_certificate_of_the_client(ada: Client, secured: TlsDatabase) -> None:
    config = secured.config | {"username": "certified"}
    root = {"rootCertificate": encoded(secured.server[0])}
    with pytest.raises(SourceAuthenticationFailed, match="client certificate"):
        await ada.create(config, ssl=root)
    pair = {
        "sslCertificate": encoded(secured.client[0]),
        "sslCertificateKey": encoded(secured.client[1]),
    }
    made = await ada.create(config, ssl=root | pair, access_type=DESTINATION)
    assert await write(ada, made.id, pa.table({"a": [1]}), "public.t") == 1
    assert secured.fetch("SELECT tableowner FROM pg_tables WHERE tablename = 't'") == [("certified",)]


async def test_s3_must_prove_that_it_is_the_host(ada: Client, tmp_path: Path) -> None:
    (tmp_path / "unknown").mkdir()
    files, unknown = self_signed(tmp_path, "localhost"), self_signed(tmp_path / "unknown", "localhost")

    async def locations(host: str, authority: Path | None) -> list[str]:
        config: dict[str, Any] = {"accessKey": "testing", "endpointUrl": f"https://{host}:{port}"}
        ssl = {"caCertificate": encoded(authority)} if authority else {}
        made = await ada.create(config, type=S3, secrets={"secretKey": "testing"}, ssl=ssl)
        return list(
            (await ada.connectors.ListLocations(connector_pb2.ListLocationsRequest(id=made.id))).locations
        )

    with s3_with_tls(*files) as port:
        assert await locations("localhost", files[0]) == []
        for host, authority in (("localhost", unknown[0]), ("localhost", None), ("127.0.0.1", files[0])):
            with pytest.raises(SourceUnreachable):
                await locations(host, authority)
