"""Opens connections to MySQL and MariaDB and turns their complaints into the platform's errors."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
from pymysql.constants import CLIENT
from pymysql.converters import conversions

from simulacra.errors import (
    DeadlineExceeded,
    InvalidArgument,
    LocationNotFound,
    PermissionDenied,
    SimulacraError,
    SourceAuthenticationFailed,
    SourceUnreachable,
    StorageFull,
)
from simulacra_connector.drivers.base import Canceled, SessionOptions
from simulacra_connector.net import allowed_addresses, dial, is_within, tls_context, untrusted
from simulacra_connector.types import Connection

__all__ = ["connect", "mysql_errors"]

_ENCODERS = {type: encode for type, encode in conversions.items() if not isinstance(type, int)}
"""Values go in escaped, and come out as the text that the server sent: Arrow converts whole columns."""
_SETUP = (
    "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
    "net_write_timeout = 600, lock_wait_timeout = {lock}, innodb_lock_wait_timeout = {lock}"
)
_PLAIN_PASSWORD = (b"mysql_clear_password", b"dialog")
"""Ways to log in that send the password as it is."""
_NO_TLS = 2026
_AUTHENTICATION = {1044, 1045, 1130, 1251, 1698, 1862, 3118, 4151}
_DENIED = {1142, 1143, 1227, 1370, 1792, 1290, 1836}
_LOCKED = {1205}
_TIMEOUT = {1969, 3024}
_INTERRUPTED = {1317}
_FULL = {3, 20, 28, 1021, 1114}
_CONNECTION = {1040, 1053, 1203, 1927, *range(2000, 2100)}


class _Connection(pymysql.connections.Connection):  # type: ignore[misc]  # the driver has no types
    """A connection that refuses to go on without the TLS it needs, before anything of a login is sent."""

    needs_tls = False

    def _request_authentication(self) -> None:
        if self.needs_tls and not self.server_capabilities & CLIENT.SSL:
            raise pymysql.err.OperationalError(_NO_TLS, "the server does not offer TLS")
        super()._request_authentication()

    def _process_auth(self, plugin_name: bytes, *rest: Any) -> Any:
        if plugin_name in _PLAIN_PASSWORD and not self._secure:
            raise pymysql.err.OperationalError(_NO_TLS, "the server asks for the password without TLS")
        return super()._process_auth(plugin_name, *rest)


def connect(connection: Connection, options: SessionOptions, *, read_timeout: int) -> Any:
    """Connects; results do not depend on the server's time zone or modes.

    Beyond the networks where TLS is optional, the server must prove by its certificate that it is the host
    that was named. What counts is the address that is connected to, not the name: a name proves nothing.

    Raises:
        SourceUnreachable: If nothing answers there, or the server cannot prove who it is.
        SourceAuthenticationFailed: If the server refuses user or password.
    """
    host, port = str(connection.config["host"]), int(connection.config["port"])
    addresses = allowed_addresses(host, port, denied_networks=options.denied_networks)
    timeout = max(2, options.connect_timeout // len(addresses))
    with mysql_errors(connection):
        for position, address in enumerate(addresses):
            opened = _unconnected(connection, options, address, timeout)
            try:
                opened.connect(dial(address, port, timeout))
            except (pymysql.err.OperationalError, OSError) as error:
                cause = getattr(error, "original_exception", error)
                if opened.needs_tls and (isinstance(cause, ssl.SSLError) or error.args[0] == _NO_TLS):
                    reason = getattr(cause, "verify_message", "") or str(cause.args[-1])
                    raise untrusted(f"{host}:{port}", reason) from None
                if position == len(addresses) - 1 or error.args[0] in _AUTHENTICATION:
                    raise
            else:
                opened._read_timeout = read_timeout  # until here, each answer had to come soon
                return opened
    raise AssertionError("a host has at least one address")


def _unconnected(connection: Connection, options: SessionOptions, address: str, timeout: int) -> _Connection:
    """Makes a connection to a host by its name, which the certificate is for; who dials takes the address."""
    needs_tls = not is_within(address, options.tls_optional_networks)
    made = _Connection(
        host=str(connection.config["host"]),
        port=int(connection.config["port"]),
        user=str(connection.config["username"]),
        password=connection.secrets.get("password", "").encode(),  # the driver's own is Latin-1
        charset="utf8mb4",
        read_timeout=timeout,
        write_timeout=60,
        conv=_ENCODERS,
        local_infile=False,
        program_name="simulacra",
        init_command=_SETUP.format(lock=options.lock_timeout),
        ssl=tls_context(options.source_ca_file) if needs_tls else None,
        defer_connect=True,
    )
    made.needs_tls = needs_tls
    return made


@contextmanager
def mysql_errors(connection: Connection, location: str = "") -> Iterator[None]:
    """Raises the platform's error for one of the driver's; the password is in none of them."""
    try:
        yield
    except (pymysql.err.Error, OSError) as error:
        numbered = isinstance(error, pymysql.err.Error) and error.args and isinstance(error.args[0], int)
        code = error.args[0] if numbered else 2013
        text = str(error.args[-1]) if error.args else type(error).__name__
        for secret in connection.secrets.values():
            if len(secret) > 3:
                text = text.replace(secret, "***")
        raise _translated(connection, code, text, location) from None


def _translated(connection: Connection, code: int, text: str, location: str) -> Exception:
    where = f"{connection.config['host']}:{connection.config['port']}"
    user = connection.config["username"]
    error: SimulacraError
    if code in _INTERRUPTED:
        return Canceled()
    if code in _AUTHENTICATION:
        error = SourceAuthenticationFailed(f"{where} refuses user {user!r}: {text}", host=where)
    elif code in _DENIED:
        error = PermissionDenied(f"user {user!r} at {where} may not do this: {text}")
    elif code in _LOCKED:
        error = DeadlineExceeded(
            f"another session at {where} holds a lock on a table: {text}; try again when it has ended"
        )
    elif code in _TIMEOUT:
        error = DeadlineExceeded(f"{where} took longer than allowed: {text}")
    elif code in (1049, 1146):
        error = LocationNotFound(f'there is nothing at location "{location}": {text}', location=location)
    elif code in _FULL:
        error = StorageFull(f"{where} has no space left: {text}; free some and try again", host=where)
    elif code in _CONNECTION:
        error = SourceUnreachable(f"{where} does not answer: {text}", host=where)
    else:
        error = InvalidArgument(f"the statement failed: {text}")
    return error
