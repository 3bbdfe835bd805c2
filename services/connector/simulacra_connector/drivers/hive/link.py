"""Opens sessions at HiveServer2 and turns its complaints into faults."""

import base64
import re
import ssl
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import impala.dbapi
from impala import error as hive
from impala._thrift_gen.TCLIService.ttypes import TGetOperationStatusReq, TOperationState
from thrift.Thrift import TException

from simulacra.errors import InvalidArgument
from simulacra_connector.contents import krb5_hosts
from simulacra_connector.drivers.base import SessionOptions
from simulacra_connector.drivers.hive.kerberos import kerberos_connection
from simulacra_connector.drivers.sql import Fault, Link
from simulacra_connector.net import allowed_addresses
from simulacra_connector.types import Connection

__all__ = ["HiveLink"]

# Who does not ask for a password is sent one all the same; the protocol wants one.
_ANY_PASSWORD = "any"  # noqa: S105
_KERBEROS_PORT = 88
_POLLS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_RUNNING = (
    TOperationState.INITIALIZED_STATE,
    TOperationState.PENDING_STATE,
    TOperationState.RUNNING_STATE,
)
_FAULTS = (
    (re.compile(r"TABLE_OR_VIEW_NOT_FOUND|SCHEMA_NOT_FOUND|Error 1000[12]|Table not found"), Fault.MISSING),
    (re.compile(r"ALREADY_EXISTS|already exists"), Fault.EXISTS),
    (re.compile(r"[Pp]ermission denied|HiveAccessControlException"), Fault.DENIED),
    (re.compile(r"CAST_INVALID_INPUT|CAST_OVERFLOW|OUT_OF_RANGE|CANNOT_SAFELY_CAST"), Fault.VALUE),
)
_REFUSED = re.compile(r"validating the login|authentication|GSS|[Bb]ad status")


class HiveLink(Link):
    """One session; its statements run at the server while we ask how they are."""

    errors: ClassVar[tuple[type[Exception], ...]] = (hive.Error, TException)

    def __init__(self, parameters: Connection, options: SessionOptions) -> None:
        super().__init__(parameters, options)
        config = parameters.config
        self._host, self._port = str(config["host"]), int(config["port"])
        self._cursor: Any = None
        self._files = tempfile.TemporaryDirectory(prefix="simulacra-hive-")
        try:
            addresses = allowed_addresses(self._host, self._port, denied_networks=options.denied_networks)
            with self.translated():
                self._connection = self._connect(addresses)
        except BaseException:
            self._files.cleanup()
            raise

    @property
    def where(self) -> str:
        """Host and port."""
        return f"{self._host}:{self._port}"

    def _connect(self, addresses: list[str]) -> Any:
        config, secrets = self.parameters.config, self.parameters.secrets
        encrypted = bool(config["sslEnabled"])
        # A certificate is for a name, which TLS checks; without TLS the checked address is what counts.
        host = self._host if encrypted else addresses[0]
        transport: dict[str, Any] = {
            "host": host,
            "port": self._port,
            "timeout": self.options.connect_timeout,
            "use_ssl": encrypted,
            "ca_cert": self._authorities() if encrypted else None,
            "verify_cert": encrypted,
        }
        if config["kerberosEnabled"]:
            for server in krb5_hosts(str(config["kerberosKrb5Conf"])):
                allowed_addresses(server, _KERBEROS_PORT, denied_networks=self.options.denied_networks)
            return kerberos_connection(self.parameters, transport, Path(self._files.name))
        return impala.dbapi.connect(
            auth_mechanism="PLAIN",
            user=str(config.get("username", "")),
            password=secrets.get("password") or _ANY_PASSWORD,
            **transport,
        )

    def _authorities(self) -> str:
        """Returns the file of certificates to trust: the connector's own, or the machine's."""
        encoded = self.parameters.ssl.get("caCertificate")
        if not encoded:
            paths = ssl.get_default_verify_paths()
            return str(paths.cafile or paths.openssl_cafile)
        file = Path(self._files.name, "ca.pem")
        try:
            file.write_bytes(base64.b64decode(encoded, validate=True))
        except ValueError:
            raise InvalidArgument.of("ssl.caCertificate", "is not base64") from None
        return str(file)

    def cursor(self) -> Any:
        """Returns the one cursor: each would be a session of its own at the server."""
        if self._cursor is None:
            self._cursor = self._connection.cursor(convert_types=True)
        return self._cursor

    def run(self, cursor: Any, sql: str, parameters: Sequence[Any]) -> None:
        """Starts a statement and asks until it ends; or ends it, when that is wanted."""
        del parameters
        cursor.execute_async(sql)
        polls = iter(_POLLS)
        while (state := _state(cursor)) in _RUNNING:
            if self.is_stopped:
                cursor.cancel_operation()
                raise hive.OperationalError("the statement was stopped")
            time.sleep(next(polls, _POLLS[-1]))
        if state != TOperationState.FINISHED_STATE:
            raise hive.OperationalError("the server has ended the statement")

    def columns_of(self, cursor: Any) -> Iterator[Sequence[Any]]:
        """Fetches rows in bounded pieces, each in one answer of the server."""
        while True:
            cursor.arraysize = self.pace.rows
            rows = cursor.fetchmany(self.pace.rows)
            if not rows:
                return
            if self.is_stopped:
                cursor.cancel_operation()
                raise hive.OperationalError("the statement was stopped")
            yield list(zip(*rows, strict=True))

    def stop(self) -> None:
        """Needs to do nothing here: who waits for a statement sees that it shall end."""

    def describe(self, sql: str) -> list[Any]:
        """Has the server run a statement for none of its rows; returns what its columns are."""
        with self.bounded(self.options.statement_timeout), self.translated("the query"):
            cursor = self.cursor()
            self.run(cursor, sql, ())
            return list(cursor.description)

    def close(self) -> None:
        """Ends the session."""
        with suppress(*self.failures):
            if self._cursor is not None:
                self._cursor.close()
        with suppress(*self.failures):
            self._connection.close()
        self._files.cleanup()

    def fault(self, error: Exception) -> tuple[Fault, str]:
        """Goes by the words, for Hive has no codes that all its versions share."""
        # What follows is the server's own stack.
        text = str(getattr(error, "message", None) or error).partition("\n\tat ")[0].partition(";line")[0]
        if isinstance(error, TException) and _REFUSED.search(text):
            return Fault.AUTHENTICATION, text
        found = next((fault for pattern, fault in _FAULTS if pattern.search(text)), None)
        if found is None:
            answered = isinstance(error, hive.Error) and not isinstance(error, hive.HttpError)
            found = Fault.STATEMENT if answered else Fault.UNREACHABLE
        return found, text


def _state(cursor: Any) -> int:
    """Asks how a statement is; the cursor's own question would leave out why it has failed."""
    operation = cursor._last_operation
    request = TGetOperationStatusReq(operationHandle=operation.handle)
    answer = operation._rpc("GetOperationStatus", request, True)
    operation.update_has_result_set(answer)
    if answer.operationState is None or answer.operationState == TOperationState.ERROR_STATE:
        raise hive.OperationalError(answer.errorMessage or "the server does not say why")
    return int(answer.operationState)
