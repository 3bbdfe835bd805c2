"""Opens connections to Oracle and turns its error numbers into faults."""

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from decimal import Decimal
from typing import Any, ClassVar

import oracledb

from simulacra_connector.drivers.base import SessionOptions
from simulacra_connector.drivers.sql import Fault, Link, ReadColumn
from simulacra_connector.net import allowed_addresses, is_within, tls_context, untrusted
from simulacra_connector.types import Connection

__all__ = ["OracleLink"]

_FETCHED_ROWS, _WIDE_ROWS = 4096, 64
_LOGINS = threading.BoundedSemaphore(32)
"""Bounds the threads of logins: those that hang stay until their server hangs up."""
_FAULTS: dict[Fault, frozenset[int]] = {
    Fault.AUTHENTICATION: frozenset({1005, 1017, 1045, 28000, 28001, 28009}),
    Fault.DENIED: frozenset({1031, 1456, 1950, 16000}),
    Fault.MISSING: frozenset({942}),
    Fault.EXISTS: frozenset({955}),
    Fault.TIMEOUT: frozenset({54, 60, 1555, 4021, 30006}),
    Fault.CANCELED: frozenset({1013}),
    Fault.FULL: frozenset({257, 1536, 1652, 1653, 1654, 1658, 1659, 1688, 1691, 19809, 30036}),
    Fault.BUSY: frozenset({18, 20, 4031}),
    Fault.RULE: frozenset({1, 1400, 1407, 2290, 2291, 2292, 2298, 2437}),
    Fault.VALUE: frozenset({1426, 1438, 1489, 1722, 1839, 1841, 1843, 1858, 1861, 12899}),
    Fault.UNREACHABLE: frozenset({28, 1033, 1034, 1089, 1090, 3113, 3114, 3135, 12170, 12505, 12514, 12541}),
}
_BY_NUMBER = {number: fault for fault, numbers in _FAULTS.items() for number in numbers}
# Of the driver itself: a call that took too long, and connections that cannot be made or are lost.
_CALL_TIMEOUT = "DPY-4024"
_CONNECTION = re.compile(r"DPY-(6\d{3}|4011|1001)")


_UNTRUSTED = re.compile(r"DPY-6006|\[SSL|certificate")


class OracleLink(Link):
    """One connection; a reading one is a read-only transaction, which sees one moment."""

    errors: ClassVar[tuple[type[Exception], ...]] = (oracledb.Error,)

    def __init__(self, parameters: Connection, options: SessionOptions, *, writing: bool) -> None:
        super().__init__(parameters, options)
        config = parameters.config
        self._host, self._port = str(config["host"]), int(config["port"])
        addresses = allowed_addresses(self._host, self._port, denied_networks=options.denied_networks)
        with self.translated():
            self._connection = self._connect(addresses)
        self._connection.outputtypehandler = _exact_numbers
        self._connection.autocommit = writing
        if not writing:
            self.execute("SET TRANSACTION READ ONLY")

    @property
    def where(self) -> str:
        """Host and port."""
        return f"{self._host}:{self._port}"

    def _connect(self, addresses: list[str]) -> Any:
        """Connects by TLS, or in the clear where it is optional: the driver cannot ask if it is offered."""
        if not all(is_within(address, self.options.tls_optional_networks) for address in addresses):
            # The name is resolved again for the connection, which then proves by TLS whose it is.
            context = tls_context(self.options.source_ca_file)
            try:
                return self._login(self._host, protocol="tcps", ssl_server_dn_match=True, ssl_context=context)
            except oracledb.Error as error:
                if _UNTRUSTED.search(str(error)):
                    _, reason = self.fault(error)
                    raise untrusted(self.where, " ".join(reason.split()).rstrip(".")) from None
                raise
        for position, address in enumerate(addresses):
            try:
                return self._login(address)
            except oracledb.Error as error:
                fault, _ = self.fault(error)
                if position == len(addresses) - 1 or fault is not Fault.UNREACHABLE:
                    raise
        raise AssertionError("a host has at least one address")

    def _login(self, host: str, **transport: Any) -> Any:
        config = self.parameters.config
        kind = "sid" if config["connectionType"] == "SID" else "service_name"
        target = oracledb.ConnectParams(
            host=host,
            port=self._port,
            tcp_connect_timeout=self.options.connect_timeout,
            program="simulacra",
            **{kind: str(config["database"])},
            **transport,
        )
        password = self.parameters.secrets.get("password", "")
        return _in_time(
            lambda: oracledb.connect(user=str(config["username"]), password=password, params=target),
            self.options.connect_timeout,
        )

    def cursor(self) -> Any:
        """Makes a cursor that fetches large objects as values."""
        cursor = self._connection.cursor()
        cursor.arraysize = cursor.prefetchrows = _FETCHED_ROWS
        return cursor

    def cursor_for(self, columns: Sequence[ReadColumn]) -> Any:
        """Makes a cursor that fetches few rows at once if they have large objects in them."""
        cursor = self.cursor()
        if any(column.wide for column in columns):
            cursor.arraysize = cursor.prefetchrows = _WIDE_ROWS
        return cursor

    def run(self, cursor: Any, sql: str, parameters: Any) -> None:
        """Runs a statement."""
        cursor.execute(sql, list(parameters), fetch_lobs=False)

    def stop(self) -> None:
        """Sends a break; the connection stays."""
        self._connection.cancel()

    def commits(self, each: bool) -> None:
        """Says whether each statement is a transaction of its own."""
        self._connection.autocommit = each

    def end(self, *, keep: bool) -> None:
        """Commits, or rolls back."""
        with self.translated():
            self._connection.commit() if keep else self._connection.rollback()

    def describe(self, sql: str) -> list[Any]:
        """Has the server parse a statement; returns what its columns are."""
        with self.bounded(self.options.statement_timeout), self.translated("the query"):
            cursor = self.cursor()
            cursor.parse(sql)
            return list(cursor.description or [])

    def close(self) -> None:
        """Closes the connection; what is open is rolled back."""
        with suppress(*self.failures):
            self._connection.close()

    def fault(self, error: Exception) -> tuple[Fault, str]:
        """Goes by the number; the driver has its own for what happens before the server answers."""
        detail = error.args[0] if error.args else None
        number, name = int(getattr(detail, "code", 0) or 0), str(getattr(detail, "full_code", ""))
        text = str(getattr(detail, "message", None) or error).partition("\nHelp:")[0]
        if name == _CALL_TIMEOUT:
            return Fault.TIMEOUT, text
        if name.startswith("ORA-"):
            return _BY_NUMBER.get(number, Fault.STATEMENT), text
        lost = isinstance(error, OSError) or bool(_CONNECTION.fullmatch(name))
        return (Fault.UNREACHABLE if lost else Fault.STATEMENT), text


def _in_time(login: Callable[[], Any], seconds: float) -> Any:
    """Logs in, for which the driver has no limit of time, in a thread of its own.

    Raises:
        TimeoutError: If it takes too long; the thread then waits on, and closes what it gets.
    """
    if not _LOGINS.acquire(blocking=False):
        raise TimeoutError("too many logins wait for servers that do not answer")
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            opened = login()
        except BaseException as error:
            if outcome.set_running_or_notify_cancel():
                outcome.set_exception(error)
        else:
            if outcome.set_running_or_notify_cancel():
                outcome.set_result(opened)
            else:
                with suppress(oracledb.Error, OSError):
                    opened.close()
        finally:
            _LOGINS.release()

    threading.Thread(target=run, name="oracle-login", daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError:
        if outcome.cancel():
            raise TimeoutError(f"no answer to the login in {seconds} seconds") from None
        return outcome.result()


def _exact_numbers(cursor: Any, metadata: Any) -> Any:
    """Fetches numbers as decimals: as floats they would lose digits."""
    if metadata.type_code is oracledb.DB_TYPE_NUMBER:
        return cursor.var(Decimal, arraysize=cursor.arraysize)
    return None
