"""Oracle: what its driver makes of a listener's answers, and the whole connector where a database is given.

`SIMULACRA_TEST_ORACLE=user/password@host:port/service` names one whose user may create tables; where it has
no TLS, `SIMULACRA_TLS_OPTIONAL_NETWORKS` has to name its network.
"""

import datetime
import gc
import os
import re
import socket
import ssl
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracledb
import pyarrow as pa
import pytest

from simulacra.errors import (
    AlreadyExists,
    InvalidArgument,
    PermissionDenied,
    SimulacraError,
    SourceAuthenticationFailed,
    SourceUnreachable,
    UnsupportedData,
)
from simulacra.v1 import connector_pb2
from simulacra_connector.app import create
from tests.certificates import self_signed
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings
from tests.integration.connector.test_writing import DESTINATION, write
from tests.require import require

ORACLE = connector_pb2.CONNECTOR_TYPE_ORACLE
PASSWORD = 'planted "pass/word@'
_REFUSE = 4


@contextmanager
def listener(number: int, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A listener that refuses every connection with an error number, as Oracle's does."""
    server = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with suppress(OSError), tls.wrap_socket(client, server_side=True) if tls else client as client:
                if not client.recv(4096):
                    continue
                text = f"(DESCRIPTION=(TMP=)(VSNNUM=301989888)(ERR={number})(ERROR_STACK=))".encode()
                body = struct.pack(">BBH", 0x22, 0, len(text)) + text
                client.sendall(struct.pack(">HHBBH", len(body) + 8, 0, _REFUSE, 0, 0) + body)
                client.settimeout(5)
                client.recv(1)  # who hangs up first may take back what was sent

    threading.Thread(target=refuse, daemon=True).start()
    yield int(server.getsockname()[1])
    server.close()


def config(port: int, **changes: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "username": "reader", "database": "shop", **changes}


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [(12514, "SERVICE_NAME", "shop"), (12505, "SID", "shop"), (12516, "SID", "12516")],
)
async def test_listener_that_refuses(ada: Client, number: int, kind: str, words: str) -> None:
    with listener(number) as port, pytest.raises(SourceUnreachable, match=words) as caught:
        await ada.create(config(port, connectionType=kind), type=ORACLE, secrets={"password": PASSWORD})
    assert PASSWORD not in caught.value.message


@pytest.fixture
def abandoned_sockets() -> Iterator[None]:
    """The driver leaves the sockets of logins that fail to the garbage collector, which has to come here."""
    yield
    deadline = time.monotonic() + 30
    while any(thread.name == "oracle-login" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
    gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.usefixtures("abandoned_sockets")
async def test_server_must_prove_that_it_is_the_host(
    settings: Settings, connect: Callable[..., Client], tmp_path: Path
) -> None:
    trusted, other = self_signed(tmp_path, "localhost"), self_signed(tmp_path, "other.example")
    (tmp_path / "unknown").mkdir()
    unknown = self_signed(tmp_path / "unknown", "localhost")
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(trusted[0].read_bytes() + other[0].read_bytes())
    component = await create(settings(tls_optional_networks=(), source_ca_file=authorities))
    await component.start()
    try:
        for shown, host, words in (
            (trusted, "localhost", "12514"),  # its own answer: that it does not know the database
            (other, "localhost", "cannot prove who it is: .*localhost"),
            (trusted, "127.0.0.1", "cannot prove who it is: .*127.0.0.1"),
            (unknown, "localhost", "cannot prove who it is: .*certificate"),
            (None, "localhost", "cannot prove who it is"),
        ):
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if shown else None
            if tls and shown:
                tls.load_cert_chain(*shown)
            with listener(12514, tls) as port, pytest.raises(SourceUnreachable, match=words):
                await connect(component).create(
                    config(port, host=host), type=ORACLE, secrets={"password": PASSWORD}
                )
    finally:
        await component.stop()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.usefixtures("abandoned_sockets")
async def test_server_that_never_answers(settings: Settings, connect: Callable[..., Client]) -> None:
    component = await create(settings(connect_timeout=1))
    await component.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            with pytest.raises(SourceUnreachable, match="no answer to the login"):
                await connect(component).create(config(port), type=ORACLE, secrets={"password": PASSWORD})
    finally:
        await component.stop()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"port": 1}, SourceUnreachable),
        ({"host": "169.254.169.254"}, PermissionDenied),
        ({"host": "(DESCRIPTION=(ADDRESS=(HOST=x)))"}, InvalidArgument),
        ({"connectionType": "TNS"}, InvalidArgument),
    ],
)
async def test_connection_that_cannot_be_made(
    ada: Client, change: dict[str, Any], error: type[SimulacraError]
) -> None:
    with pytest.raises(error):
        await ada.create(config(1521) | change, type=ORACLE, secrets={"password": PASSWORD})


class Database:
    """The database that the environment names; tables are made under names of their own."""

    def __init__(self, address: str) -> None:
        found = re.fullmatch(r"([^/]+)/(.+)@([^:/]+):(\d+)/(\w+)", address)
        assert found is not None, "give user/password@host:port/service"
        self.user, self.password, host, port, service = found.groups()
        self.connection = oracledb.connect(
            user=self.user, password=self.password, host=host, port=int(port), service_name=service
        )
        self.config = {
            "host": host,
            "port": int(port),
            "username": self.user,
            "connectionType": "SERVICE_NAME",
            "database": service,
        }
        self.table = f"T_{uuid.uuid4().hex[:8]}".upper()
        self.location = f"{self.user.upper()}.{self.table}"

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.connection.cursor().execute(statement.replace("{}", self.table))
        self.connection.commit()

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        return list(self.connection.cursor().execute(statement.replace("{}", self.table)).fetchall())


@pytest.fixture
def database() -> Iterator[Database]:
    address = os.environ.get("SIMULACRA_TEST_ORACLE", "")
    require(
        "oracle", bool(address), "no Oracle; SIMULACRA_TEST_ORACLE=user/password@host:port/service names one"
    )
    made = Database(address)
    yield made
    tables = made.fetch("SELECT table_name FROM user_tables WHERE table_name LIKE '{}%'")
    for (name,) in tables:
        made.run(f'DROP TABLE "{name}" CASCADE CONSTRAINTS PURGE')
    made.connection.close()


async def connector(client: Client, database: Database, **fields: Any) -> str:
    made = await client.create(
        database.config, type=ORACLE, secrets={"password": database.password}, **fields
    )
    return made.id


async def test_reading(ada: Client, database: Database) -> None:
    database.run(
        "CREATE TABLE {} (id NUMBER(9) PRIMARY KEY, any_number NUMBER, price NUMBER(10, 2), day DATE, "
        "moment TIMESTAMP(6), instant TIMESTAMP WITH TIME ZONE, text NVARCHAR2(20), body CLOB, raw_ RAW(4))",
        "INSERT INTO {} VALUES (1, 1234567890123456789012.25, 1.50, DATE '2024-02-29', "
        "TIMESTAMP '2024-02-29 01:02:03.000004', TIMESTAMP '2024-02-29 01:02:03 +02:00', 'naïve', 'long', "
        "HEXTORAW('00FF'))",
        "INSERT INTO {} (id) VALUES (2)",
        "CREATE TABLE {}_C (id NUMBER(9) CONSTRAINT {}_K REFERENCES {} (id))",
    )
    id = await connector(ada, database)
    schema = await ada.connectors.GetSchema(connector_pb2.GetSchemaRequest(id=id, location=database.location))
    assert (list(schema.primary_key), schema.total_rows) == (["ID"], 2)
    child = await ada.connectors.GetSchema(
        connector_pb2.GetSchemaRequest(id=id, location=f"{database.location}_C")
    )
    assert child.foreign_keys[0].referenced_location == database.location
    [row, empty] = (await ada.read(id, database.location)).to_pylist()
    assert list(row.values()) == [
        1,
        Decimal("1234567890123456789012.25"),
        Decimal("1.50"),
        datetime.datetime(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
        datetime.datetime(2024, 2, 28, 23, 2, 3, tzinfo=datetime.UTC),
        "naïve",
        "long",
        b"\x00\xff",
    ]
    assert list(empty.values()) == [2, *[None] * 8]
    answer = await ada.query(id, f'SELECT COUNT(*) AS n FROM "{database.table}"')
    assert answer.column("N").to_pylist() in (["2"], [2])
    for wrong in (f"DELETE FROM {database.table}", f"SELECT 1 x FROM dual; DROP TABLE {database.table}"):
        with pytest.raises((InvalidArgument, PermissionDenied)):
            await ada.query(id, wrong)
    with pytest.raises(SourceAuthenticationFailed):
        await ada.create(database.config, type=ORACLE, secrets={"password": "wrong"})


async def test_writing(ada: Client, database: Database) -> None:
    destination = await connector(ada, database, access_type=DESTINATION)
    table = pa.table(
        {
            "id": pa.array([1, 2]),
            "float": [0.5, None],
            "text": ["it's 😀", None],
            "decimal": pa.array([Decimal("1.50"), None], pa.decimal128(20, 2)),
            "moment": pa.array([datetime.datetime(2024, 1, 1, 1, 2, 3, 4), None]),
            "binary": [b"\x00\xff", None],
        }
    )
    assert await write(ada, destination, table, database.location) == 2
    assert (
        await ada.read(await connector(ada, database), database.location)
    ).to_pydict() == table.to_pydict()
    with pytest.raises(AlreadyExists):
        await write(ada, destination, table, database.location)
    await write(ada, destination, table.slice(1), database.location, overwrite=True)
    with pytest.raises((InvalidArgument, UnsupportedData)):
        await write(ada, destination, pa.table({"id": ["x"]}), database.location, overwrite=True)
    assert database.fetch('SELECT "id" FROM {}') == [(2,)]
