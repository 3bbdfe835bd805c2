"""Opens connections to PostgreSQL and turns libpq's complaints into the platform's errors."""

import base64
import re
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pyarrow as pa

from simulacra.errors import (
    DeadlineExceeded,
    InvalidArgument,
    LocationNotFound,
    PermissionDenied,
    SimulacraError,
    SourceAuthenticationFailed,
    SourceUnreachable,
    StorageFull,
    UnsupportedData,
)
from simulacra_connector.drivers.base import Canceled, SessionOptions
from simulacra_connector.net import allowed_addresses
from simulacra_connector.types import Connection

__all__ = ["connect", "connect_for_writing", "postgres_errors"]

_SESSION = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "client_encoding": "UTF8",
    "extra_float_digits": "1",
    "application_name": "simulacra",
}
# libpq gives no SQLSTATE for a refused connection; these words are in its English messages.
_UNTRUSTED = re.compile(
    "certificate verify failed|does not match host name|does not support SSL|root certificate file"
)
_REFUSED = ("authentication failed", "no password supplied", "no pg_hba.conf entry", "role ", "certificate")


def connect(connection: Connection, options: SessionOptions) -> adbc.Connection:
    """Connects for reading, in autocommit mode.

    Raises:
        SourceUnreachable: If nothing answers there, or the database does not exist.
        SourceAuthenticationFailed: If the server refuses user, password or certificate.
    """
    with _conninfo(connection, options, read_only=True) as conninfo, postgres_errors(connection):
        return adbc.connect(conninfo, autocommit=True)


def connect_for_writing(
    connection: Connection, options: SessionOptions
) -> "psycopg.Connection[tuple[Any, ...]]":
    """Connects for writing; leaving the connection's block commits, or rolls back on an error.

    Raises:
        SourceUnreachable: If nothing answers there, or the database does not exist.
        SourceAuthenticationFailed: If the server refuses user, password or certificate.
    """
    with _conninfo(connection, options, read_only=False) as conninfo, postgres_errors(connection):
        return psycopg.connect(conninfo)


@contextmanager
def _conninfo(connection: Connection, options: SessionOptions, *, read_only: bool) -> Iterator[str]:
    """Yields libpq's parameters; the session's defaults make results independent of the server's settings."""
    config = connection.config
    host, port = str(config["host"]), int(config["port"])
    addresses = allowed_addresses(host, port, denied_networks=options.denied_networks)
    writing = {"statement_timeout": f"{options.read_timeout}s"}
    access = {"default_transaction_read_only": "on"} if read_only else writing
    settings = _SESSION | access | {"lock_timeout": f"{options.lock_timeout}s"}
    parameters = {
        "host": ",".join([host] * len(addresses)),
        "hostaddr": ",".join(addresses),
        "port": ",".join([str(port)] * len(addresses)),
        "user": str(config["username"]),
        "dbname": str(config["database"]),
        "password": connection.secrets.get("password", ""),
        "passfile": "/dev/null/none",  # a password is the connector's own or none
        "connect_timeout": str(max(2, options.connect_timeout // len(addresses))),  # of each address
        "tcp_user_timeout": "60000",
        "keepalives_idle": "30",
        "gssencmode": "disable",
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
    }
    with _certificates(connection) as files:
        yield _quoted(parameters | files)


def _quoted(parameters: Mapping[str, str]) -> str:
    """Quotes each value, so that a password may hold any character."""
    escaped = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in parameters.items()}
    return " ".join(f"{name}='{value}'" for name, value in escaped.items() if value)


@contextmanager
def _certificates(connection: Connection) -> Iterator[dict[str, str]]:
    """Yields libpq's TLS parameters; certificates lie in a private folder while it connects, no longer."""
    if not connection.config.get("sslEnabled"):
        yield {"sslmode": "prefer"}
        return
    names = {"rootCertificate": "sslrootcert", "sslCertificate": "sslcert", "sslCertificateKey": "sslkey"}
    system = ssl.get_default_verify_paths()
    parameters = {"sslmode": "verify-full", "sslrootcert": system.cafile or system.openssl_cafile}
    with tempfile.TemporaryDirectory(prefix="simulacra-tls-") as folder:
        for field, parameter in names.items():
            if encoded := connection.ssl.get(field):
                path = Path(folder, field)
                path.touch(mode=0o600)
                try:
                    path.write_bytes(base64.b64decode(encoded, validate=True))
                except ValueError:
                    raise InvalidArgument.of(f"ssl.{field}", "is not base64") from None
                parameters[parameter] = str(path)
        yield parameters


@contextmanager
def postgres_errors(connection: Connection, location: str = "") -> Iterator[None]:
    """Raises the platform's error for one of the driver's; the password is in none of them."""
    try:
        yield
    except (adbc_driver_manager.Error, psycopg.Error, pa.ArrowException, OSError) as error:
        text = str(error)
        for secret in connection.secrets.values():
            if len(secret) > 3:
                text = text.replace(secret, "***")
        raise _translated(connection, text.strip(), getattr(error, "sqlstate", None), location) from None


def _translated(connection: Connection, text: str, sqlstate: str | None, location: str) -> Exception:
    config = connection.config
    where = f"{config['host']}:{config['port']}"
    user, database = str(config["username"]), str(config["database"])
    state = sqlstate or (text.rpartition("SQLSTATE: ")[2][:5] if "SQLSTATE: " in text else "")
    reply = _server_message(text)
    errors: dict[str, SimulacraError] = {
        "28": SourceAuthenticationFailed(f"{where} refuses user {user!r}: {reply}", host=where),
        "42501": PermissionDenied(f"user {user!r} at {where} may not do this: {reply}"),
        "42P01": LocationNotFound(f'there is no table at location "{location}": {reply}', location=location),
        "25006": PermissionDenied(f"this connection only reads: {reply}"),
        "25001": PermissionDenied(f"this connection only reads: {reply}"),
        "22": UnsupportedData(f"the statement failed on a value: {reply}"),
        "23": InvalidArgument(f"the rows break a rule of the destination: {reply}"),
        "2BP01": InvalidArgument(f"other objects depend on the table to overwrite: {reply}"),
        "53100": StorageFull(f"{where} has no space left: {reply}; free some and try again", host=where),
        "53": SourceUnreachable(f"{where} is out of connections or memory: {reply}", host=where),
        "55P03": DeadlineExceeded(
            f"another session at {where} holds a lock on a table: {reply}; try again when it has ended"
        ),
        "40": DeadlineExceeded(f"another session at {where} was in the way: {reply}"),
        "42": InvalidArgument(f"the statement is wrong: {reply}"),
        "0A": InvalidArgument(f"the statement is not possible here: {reply}"),
    }
    if "due to lock timeout" in text:  # while rows stream, the driver gives no SQLSTATE
        return errors["55P03"]
    if state == "57014" or "canceling statement" in text:
        if "timeout" in text:
            return DeadlineExceeded(f"{where} took longer than allowed: {reply}")
        return Canceled()
    for prefix in (state, state[:2]):
        if prefix in errors:
            return errors[prefix]
    if _is_connecting(text) and _UNTRUSTED.search(reply):
        return SourceUnreachable(
            f"{where} cannot prove who it is: {reply}. With sslEnabled a server needs TLS and a certificate "
            "for this very host, of an authority in ssl.rootCertificate or else one that this machine trusts",
            host=where,
        )
    if _is_connecting(text) and any(words in reply for words in _REFUSED):
        return errors["28"]
    if "permission denied" in reply:
        return errors["42501"]
    if "read-only transaction" in reply:
        return errors["25006"]
    if "ERROR:" in text:  # the server answered; while rows stream, the driver gives no SQLSTATE
        return InvalidArgument(f"the statement failed: {reply}")
    return SourceUnreachable(f"database {database!r} at {where} does not answer: {reply}", host=where)


def _is_connecting(text: str) -> bool:
    return "Failed to connect" in text or "connection failed" in text


def _server_message(text: str) -> str:
    """Takes what the server said out of the driver's text, which repeats the whole statement."""
    for marker in ("FATAL:", "ERROR:"):
        if marker in text:
            text = text.rpartition(marker)[2]
    for end in ("\n\nQuery was:", "SQLSTATE:", "\nLINE "):
        text = text.partition(end)[0]
    return " ".join(text.split()).removeprefix("IO: [libpq] ").rstrip(". ")
