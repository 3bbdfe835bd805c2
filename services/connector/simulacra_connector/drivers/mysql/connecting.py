"""Opens connections to MySQL and MariaDB and turns their complaints into the platform's errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
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
from simulacra_connector.net import allowed_addresses
from simulacra_connector.types import Connection

__all__ = ["connect", "mysql_errors"]

_ENCODERS = {type: encode for type, encode in conversions.items() if not isinstance(type, int)}
"""Values go in escaped, and come out as the text that the server sent: Arrow converts whole columns."""
_SETUP = (
    "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
    "net_write_timeout = 600, lock_wait_timeout = 30"
)
_AUTHENTICATION = {1044, 1045, 1130, 1251, 1698, 1862, 3118, 4151}
_DENIED = {1142, 1143, 1227, 1370, 1792, 1290, 1836}
_TIMEOUT = {1205, 1969, 3024}
_INTERRUPTED = {1317}
_FULL = {3, 20, 28, 1021, 1114}
_CONNECTION = {1040, 1053, 1203, 1927, *range(2000, 2100)}


def connect(connection: Connection, options: SessionOptions, *, read_timeout: int) -> Any:
    """Connects; results do not depend on the server's time zone or modes.

    Raises:
        SourceUnreachable: If nothing answers there.
        SourceAuthenticationFailed: If the server refuses user or password.
    """
    config = connection.config
    host, port = str(config["host"]), int(config["port"])
    addresses = allowed_addresses(host, port, denied_networks=options.denied_networks)
    with mysql_errors(connection):
        for position, address in enumerate(addresses):
            try:
                opened = pymysql.connect(
                    host=address,
                    port=port,
                    user=str(config["username"]),
                    password=connection.secrets.get("password", "").encode(),  # the driver's own is Latin-1
                    charset="utf8mb4",
                    connect_timeout=max(2, options.connect_timeout // len(addresses)),
                    read_timeout=read_timeout,
                    write_timeout=60,
                    conv=_ENCODERS,
                    local_infile=False,
                    program_name="simulacra",
                    init_command=_SETUP,
                )
            except pymysql.err.OperationalError as error:
                if position == len(addresses) - 1 or error.args[0] in _AUTHENTICATION:
                    raise
            else:
                return opened
    raise AssertionError("a host has at least one address")


@contextmanager
def mysql_errors(connection: Connection, location: str = "") -> Iterator[None]:
    """Raises the platform's error for one of the driver's; the password is in none of them."""
    try:
        yield
    except (pymysql.err.Error, OSError) as error:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 2013
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
