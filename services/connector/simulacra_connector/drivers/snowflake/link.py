"""Opens connections to Snowflake and turns its error codes into faults."""

import math
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import urlsplit

import snowflake.connector
from snowflake.connector import errors
from snowflake.connector.cursor import SnowflakeCursor

from simulacra.errors import InvalidArgument
from simulacra_connector.drivers.base import SessionOptions
from simulacra_connector.drivers.sql import Fault, Link
from simulacra_connector.net import allowed_addresses
from simulacra_connector.types import Connection

__all__ = ["SnowflakeLink"]

_ACCOUNT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,250}[A-Za-z0-9])?")
_BY_CODE = {
    604: Fault.CANCELED,
    630: Fault.TIMEOUT,
    2002: Fault.EXISTS,
    2003: Fault.MISSING,
    3001: Fault.DENIED,
}
# By the first characters of the SQLSTATE, the longest first.
_BY_STATE = {
    "42501": Fault.DENIED,
    "42S02": Fault.MISSING,
    "57014": Fault.TIMEOUT,
    "08": Fault.UNREACHABLE,
    "22": Fault.VALUE,
    "23": Fault.RULE,
    "28": Fault.AUTHENTICATION,
    "53": Fault.BUSY,
}
_CONNECTING = 250001
# The output formats print each digit, whatever the account's own formats are.
_FORMAT = "YYYY-MM-DD HH24:MI:SS.FF9"


class _Cursor(SnowflakeCursor):
    """A cursor whose timer, which has the server cancel a statement, holds up no process's end.

    The timer's thread asks a server that is away again and again.
    """

    _timer: threading.Timer | None = None

    @property
    def _timebomb(self) -> Any:
        return self._timer

    @_timebomb.setter
    def _timebomb(self, timer: Any) -> None:
        if timer is not None:
            timer.daemon = True
        self._timer = timer


class SnowflakeLink(Link):
    """One connection. Snowflake runs one statement at a time, and takes no second one in a text."""

    errors: ClassVar[tuple[type[Exception], ...]] = (errors.Error,)

    def __init__(self, parameters: Connection, options: SessionOptions) -> None:
        super().__init__(parameters, options)
        self._account = str(parameters.config["account"])
        if not _ACCOUNT.fullmatch(self._account):
            raise InvalidArgument.of("config.account", f"{self._account!r} is not an account identifier")
        with self.translated():
            self._connection = self._connect()

    @property
    def where(self) -> str:
        """The account."""
        return f"Snowflake account {self._account}"

    def _connect(self) -> Any:
        config = self.parameters.config
        seconds = self.options.read_timeout
        return snowflake.connector.connect(
            account=self._account,
            user=str(config["username"]),
            password=self.parameters.secrets.get("password", ""),
            warehouse=str(config["warehouse"]),
            database=str(config["database"]),
            application="Simulacra",
            paramstyle="qmark",
            login_timeout=self.options.connect_timeout,
            network_timeout=seconds,
            arrow_number_to_decimal=True,
            client_store_temporary_credential=False,
            session_parameters={
                "TIMEZONE": "UTC",
                "TIMESTAMP_NTZ_OUTPUT_FORMAT": _FORMAT,
                "TIME_OUTPUT_FORMAT": "HH24:MI:SS.FF9",
                "STATEMENT_TIMEOUT_IN_SECONDS": str(seconds),
                "CLIENT_TELEMETRY_ENABLED": False,
                "QUERY_TAG": "simulacra",
            },
            **self._address(),
        )

    def _address(self) -> dict[str, Any]:
        """Checks where the account is, or returns the address of its stand-in."""
        stand_in = self.options.endpoints.get("SNOWFLAKE")
        if stand_in:
            parts = urlsplit(stand_in)
            return {"host": parts.hostname, "port": parts.port, "protocol": parts.scheme}
        # The name is resolved again for the connection, which then proves by TLS whose it is.
        host = f"{self._account}.snowflakecomputing.com"
        allowed_addresses(host, 443, denied_networks=self.options.denied_networks)
        return {}

    def cursor(self) -> Any:
        """Makes a cursor."""
        return self._connection.cursor(_Cursor)

    def run(self, cursor: Any, sql: str, parameters: Sequence[Any]) -> None:
        """Runs a statement; else the connector would ask a server that is away for hours."""
        cursor.execute(sql, tuple(parameters) or None, timeout=self._patience)

    @property
    def _patience(self) -> int:
        """Seconds until the connector gives up, a little after the statement should have been stopped."""
        return math.ceil(self.seconds) + self.options.connect_timeout

    def columns_of(self, cursor: Any) -> Iterator[Sequence[Any]]:
        """Takes the result's Arrow chunks as they come; what is no query has rows only."""
        try:
            for table in cursor.fetch_arrow_batches():
                yield table.columns
        except errors.NotSupportedError:
            yield from super().columns_of(cursor)

    def describe(self, sql: str) -> list[Any]:
        """Has the server compile a statement; returns what its columns are."""
        with self.bounded(self.options.statement_timeout), self.translated("the query"):
            return list(self.cursor().describe(sql, timeout=self._patience))

    def stop(self) -> None:
        """Has the server end what this session runs, from another one."""
        with suppress(*self.failures), self._connect() as other:
            other.cursor(_Cursor).execute(
                "SELECT SYSTEM$CANCEL_ALL_QUERIES(?)", (self._connection.session_id,)
            )

    def close(self) -> None:
        """Ends the session."""
        with suppress(*self.failures):
            self._connection.close()

    def fault(self, error: Exception) -> tuple[Fault, str]:
        """Goes by Snowflake's code, then by the SQLSTATE."""
        code, state = getattr(error, "errno", None), str(getattr(error, "sqlstate", None) or "")
        text = str(getattr(error, "raw_msg", None) or error)
        if not isinstance(error, errors.Error):
            return Fault.UNREACHABLE, text
        if code == _CONNECTING:
            lost = isinstance(error, errors.OperationalError) and not isinstance(error, errors.ForbiddenError)
            return (Fault.UNREACHABLE if lost else Fault.AUTHENTICATION), text
        if code in _BY_CODE:
            return _BY_CODE[code], text
        found = next((fault for start, fault in _BY_STATE.items() if state.startswith(start)), None)
        if found is None and isinstance(error, errors.OperationalError):
            found = Fault.UNREACHABLE
        return found or Fault.STATEMENT, text
