"""Opens connections to SQL Server and turns its message numbers into faults."""

import ipaddress
import re
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import OpenSSL.SSL
import pytds
import pytds.tds_base
import pytds.tls
from cryptography import x509

from simulacra_connector.drivers.base import SessionOptions
from simulacra_connector.drivers.sql import Fault, Link
from simulacra_connector.net import allowed_addresses, dial
from simulacra_connector.types import Connection

__all__ = ["MssqlLink"]

_FAULTS: dict[Fault, frozenset[int]] = {
    Fault.AUTHENTICATION: frozenset({18450, 18451, 18452, 18456, 18470, 18486, 18487, 18488}),
    Fault.DENIED: frozenset({229, 230, 262, 297, 300, 916, 1088, 2760, 3906, 15247}),
    Fault.MISSING: frozenset({208}),
    Fault.EXISTS: frozenset({2714}),
    Fault.TIMEOUT: frozenset({1205, 1222}),
    Fault.FULL: frozenset({1101, 1105, 9002}),
    Fault.BUSY: frozenset({701, 1204, 10928, 10929}),
    Fault.RULE: frozenset({515, 547, 2601, 2627}),
    Fault.VALUE: frozenset({220, 232, 241, 242, 244, 245, 248, 295, 2628, 4863, 8114, 8115, 8152}),
    Fault.UNREACHABLE: frozenset({4060, 6005, 40197, 40501, 40613}),
}
_BY_NUMBER = {number: fault for fault, numbers in _FAULTS.items() for number in numbers}


class MssqlLink(Link):
    """One connection; each statement is its own transaction until `BEGIN TRANSACTION`."""

    errors: ClassVar[tuple[type[Exception], ...]] = (pytds.tds_base.Error, OpenSSL.SSL.Error)

    def __init__(self, parameters: Connection, options: SessionOptions) -> None:
        super().__init__(parameters, options)
        config = parameters.config
        self._host, self._port = str(config["host"]), int(config["port"])
        addresses = allowed_addresses(self._host, self._port, denied_networks=options.denied_networks)
        with self.translated():
            self._socket = self._dial(addresses)
            self._connection = self._login()

    @property
    def where(self) -> str:
        """Host and port."""
        return f"{self._host}:{self._port}"

    def _dial(self, addresses: list[str]) -> socket.socket:
        timeout = max(2, self.options.connect_timeout // len(addresses))
        for position, address in enumerate(addresses):
            try:
                return dial(address, self._port, timeout)
            except OSError:
                if position == len(addresses) - 1:
                    raise
        raise AssertionError("a host has at least one address")

    def _login(self) -> Any:
        pytds.tls.validate_host = _is_certificate_of
        try:
            with self._authorities() as authorities:
                return self._connect(authorities)
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, authorities: str | None) -> Any:
        return pytds.connect(
            dsn=self._host,
            database=str(self.parameters.config["database"]),
            user=str(self.parameters.config["username"]),
            password=self.parameters.secrets.get("password", ""),
            sock=self._socket,
            port=self._port,
            login_timeout=self.options.connect_timeout,
            timeout=self.options.read_timeout,
            appname="simulacra",
            autocommit=True,
            disable_connect_retry=True,
            cafile=authorities,
        )

    @contextmanager
    def _authorities(self) -> Iterator[str | None]:
        """Yields a file of the authorities to trust, or None where TLS is not asked for."""
        paths = ssl.get_default_verify_paths()
        machine = paths.cafile or paths.openssl_cafile
        if not self.options.mssql_tls or self.options.source_ca_file is None:
            yield machine if self.options.mssql_tls else None
            return
        files = [Path(machine), self.options.source_ca_file]
        with tempfile.NamedTemporaryFile(prefix="simulacra-tls-", suffix=".pem") as both:
            both.write(b"\n".join(file.read_bytes() for file in files if file.is_file()))
            both.flush()
            yield both.name

    def cursor(self) -> Any:
        """Makes a cursor, which ends what the last one was doing."""
        return self._connection.cursor()

    def stop(self) -> None:
        """Hangs up: SQL Server then ends the statement and rolls the transaction back."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hangs up without reading what is left of a result."""
        with suppress(*self.failures):
            self._connection.close()

    def fault(self, error: Exception) -> tuple[Fault, str]:
        """Goes by the server's message number; without one the connection has failed."""
        number = int(getattr(error, "msg_no", 0) or 0)
        text = str(getattr(error, "text", "") or error)
        if isinstance(error, OpenSSL.SSL.Error):
            return Fault.UNREACHABLE, f"its TLS certificate is not trusted here ({text})"
        if number in _BY_NUMBER:
            return _BY_NUMBER[number], text
        lost = not isinstance(error, pytds.tds_base.DatabaseError)
        return (Fault.UNREACHABLE if lost else Fault.STATEMENT), text


def _is_certificate_of(cert: Any, name: bytes) -> bool:
    """Tells whether a certificate is a host's, by RFC 6125; python-tds's own check wants an older OpenSSL."""
    host = name.decode("ascii").lower()
    try:
        extension = cert.to_cryptography().extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    with suppress(ValueError):
        return ipaddress.ip_address(host) in extension.value.get_values_for_type(x509.IPAddress)
    names = extension.value.get_values_for_type(x509.DNSName)
    return any(_matches(pattern.lower(), host) for pattern in names)


def _matches(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return bool(re.fullmatch(r"[^.]+" + re.escape(pattern[1:]), host))
    return pattern == host
