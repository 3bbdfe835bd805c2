"""Opens sessions at a SQL warehouse, by token or service principal, and turns its errors into faults."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import requests
from databricks import sql
from databricks.sql import exc
from urllib3.exceptions import HTTPError

from simulacra.errors import InvalidArgument, SourceAuthenticationFailed
from simulacra_connector.drivers.base import SessionOptions
from simulacra_connector.drivers.sql import Fault, Link
from simulacra_connector.net import allowed_addresses
from simulacra_connector.types import Connection

__all__ = ["DatabricksLink"]

_TOKENS = "https://login.microsoftonline.com"
# What Microsoft calls Databricks, everywhere the same.
_SCOPE = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"
_TENANT = re.compile(r"[A-Za-z0-9.-]{1,253}")
_POLL = 0.05
_ERROR_CLASS = re.compile(r"\[([A-Z_]+)")
_BY_CLASS = {
    "TABLE_OR_VIEW_NOT_FOUND": Fault.MISSING,
    "SCHEMA_NOT_FOUND": Fault.MISSING,
    "TABLE_OR_VIEW_ALREADY_EXISTS": Fault.EXISTS,
    "INSUFFICIENT_PERMISSIONS": Fault.DENIED,
    "PERMISSION_DENIED": Fault.DENIED,
    "CAST_INVALID_INPUT": Fault.VALUE,
    "CAST_OVERFLOW": Fault.VALUE,
    "NUMERIC_VALUE_OUT_OF_RANGE": Fault.VALUE,
    "DELTA_NOT_NULL_CONSTRAINT_VIOLATED": Fault.RULE,
    "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES": Fault.RULE,
}
_REFUSED = re.compile(r"\b(401|403)\b|[Ii]nvalid access token|[Uu]nauthorized|Forbidden")


class DatabricksLink(Link):
    """One session with a warehouse; each statement is its own transaction."""

    # The connector lets an answer that breaks off through as what it is.
    errors: ClassVar[tuple[type[Exception], ...]] = (exc.Error, requests.RequestException, HTTPError)
    most_rows: ClassVar[int] = 65_536

    def __init__(self, parameters: Connection, options: SessionOptions, *, files: str | None) -> None:
        super().__init__(parameters, options)
        self._host = str(parameters.config["host"])
        self._stand_in = options.endpoints.get("DATABRICKS", "")
        if not self._stand_in:
            # Resolved again for the connection, which then proves by TLS whose it is.
            allowed_addresses(self._host, 443, denied_networks=options.denied_networks)
        self._cursor: Any = None
        with self.translated():
            self._connection = self._connect(files)

    @property
    def where(self) -> str:
        """The workspace."""
        return f"Databricks workspace {self._host}"

    def _connect(self, files: str | None) -> Any:
        path = str(self.parameters.config["httpPath"])
        stand_in = {"_connection_uri": self._stand_in + path} if self._stand_in else {}
        seconds = self.options.connect_timeout
        return sql.connect(
            server_hostname=self._host,
            http_path=path,
            access_token=self.parameters.secrets.get("accessToken") or self._token(),
            catalog=str(self.parameters.config["catalog"]),
            session_configuration={"STATEMENT_TIMEOUT": str(self.options.read_timeout), "TIMEZONE": "UTC"},
            staging_allowed_local_path=files,
            user_agent_entry="simulacra",
            enable_telemetry=False,
            _socket_timeout=max(self.options.statement_timeout, seconds),
            _retry_stop_after_attempts_duration=seconds,
            _retry_stop_after_attempts_count=3,
            **stand_in,
        )

    def _token(self) -> str:
        """Asks Microsoft for a service principal's token.

        Raises:
            SourceAuthenticationFailed: If it gives none.
        """
        tenant = str(self.parameters.config["tenantId"])
        if not _TENANT.fullmatch(tenant):
            raise InvalidArgument.of("config.tenantId", f"{tenant!r} is not a tenant")
        answer = requests.post(
            f"{self._stand_in or _TOKENS}/{tenant}/oauth2/v2.0/token",
            data={
                "grant_type": "client_credentials",
                "client_id": str(self.parameters.config["clientId"]),
                "client_secret": self.parameters.secrets["clientSecret"],
                "scope": _SCOPE,
            },
            timeout=self.options.connect_timeout,
            allow_redirects=False,
        )
        if answer.status_code != requests.codes.ok:
            raise SourceAuthenticationFailed(
                f"Microsoft gives service principal {self.parameters.config['clientId']!r} no token "
                f"(status {answer.status_code}); check clientId, tenantId and clientSecret"
            )
        return str(answer.json()["access_token"])

    def cursor(self) -> Any:
        """Makes a cursor, which `stop` can cancel from now on."""
        self._cursor = self._connection.cursor()
        return self._cursor

    def columns_of(self, cursor: Any) -> Iterator[Sequence[Any]]:
        """Takes Arrow tables."""
        while (table := cursor.fetchmany_arrow(self.pace.rows)).num_rows:
            yield table.columns

    def describe(self, statement: str) -> list[Any]:
        """Has the server run a statement for none of its rows; returns what its columns are."""
        with self.bounded(self.options.statement_timeout), self.translated("the query"):
            cursor = self.cursor()
            cursor.execute(statement)
            return list(cursor.description)

    def stop(self) -> None:
        """Cancels the statement, which the connector allows from another thread, once the server knows it."""
        cursor, deadline = self._cursor, time.monotonic() + self.options.connect_timeout
        if cursor is not None:
            while cursor.active_command_id is None and time.monotonic() < deadline:
                time.sleep(_POLL)
            cursor.cancel()

    def close(self) -> None:
        """Ends the session."""
        with suppress(*self.failures):
            self._connection.close()

    def fault(self, error: Exception) -> tuple[Fault, str]:
        """Goes by the class that begins a message; what is no answer of the server is a lost connection."""
        text = str(getattr(error, "message", None) or error)
        found = _ERROR_CLASS.search(text)
        if found and found[1] in _BY_CLASS:
            return _BY_CLASS[found[1]], text
        if isinstance(error, exc.ServerOperationError):
            return Fault.STATEMENT, text
        context = getattr(error, "context", None) or {}
        if context.get("http-code") in (401, 403) or _REFUSED.search(text):
            return Fault.AUTHENTICATION, text
        lost = isinstance(
            error, exc.OperationalError | exc.RequestError | requests.RequestException | HTTPError | OSError
        )
        return (Fault.UNREACHABLE if lost else Fault.STATEMENT), text
