"""Runs jobs at BigQuery and turns its HTTP errors into faults."""

import datetime
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from google.api_core import exceptions
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.oauth2.service_account import Credentials

from simulacra.errors import InvalidArgument, PermissionDenied
from simulacra_connector.drivers.base import SessionOptions
from simulacra_connector.drivers.sql import Fault, Link
from simulacra_connector.net import allowed_addresses
from simulacra_connector.types import Connection

__all__ = ["BigQueryLink"]

_HOST = "bigquery.googleapis.com"
_TOKENS = "https://oauth2.googleapis.com/token"
_SCOPE = "https://www.googleapis.com/auth/bigquery"
_BY_CLASS: tuple[tuple[type[Exception], Fault], ...] = (
    (exceptions.Unauthorized, Fault.AUTHENTICATION),
    (exceptions.Forbidden, Fault.DENIED),
    (exceptions.NotFound, Fault.MISSING),
    (exceptions.Conflict, Fault.EXISTS),
    (exceptions.TooManyRequests, Fault.BUSY),
    (exceptions.ServerError, Fault.UNREACHABLE),
    (exceptions.RetryError, Fault.UNREACHABLE),
    (exceptions.BadRequest, Fault.STATEMENT),
    (auth.TransportError, Fault.UNREACHABLE),
    (auth.GoogleAuthError, Fault.AUTHENTICATION),
)


class BigQueryLink(Link):
    """A client; its jobs see the tables as they were when it was made."""

    errors: ClassVar[tuple[type[Exception], ...]] = (exceptions.GoogleAPIError, auth.GoogleAuthError)

    def __init__(self, parameters: Connection, options: SessionOptions) -> None:
        super().__init__(parameters, options)
        key = _key(parameters)
        self.project = str(key["project_id"])
        self.moment = datetime.datetime.now(datetime.UTC)
        stand_in = options.endpoints.get("BIGQUERY")
        if not stand_in:
            allowed_addresses(_HOST, 443, denied_networks=options.denied_networks)
        self.client = bigquery.Client(
            project=self.project,
            credentials=AnonymousCredentials() if stand_in else _credentials(key),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": stand_in} if stand_in else None,
        )
        self._storage = None if stand_in else _storage(self.client)
        self.retry = bigquery.DEFAULT_RETRY.with_timeout(options.connect_timeout)
        self._job: Any = None

    @property
    def where(self) -> str:
        """The project."""
        return f"BigQuery project {self.project}"

    def cursor(self) -> "_Cursor":
        """Makes something that runs a query job."""
        return _Cursor(self)

    def start(self, sql: str, config: bigquery.QueryJobConfig | None = None) -> Any:
        """Starts a query job."""
        return self.client.query(
            sql, job_config=config, retry=self.retry, job_retry=None, timeout=self.options.statement_timeout
        )

    def follow(self, job: Any) -> Any:
        """Waits for a job, which `stop` can cancel from now on."""
        self._job = job
        if self.is_stopped:  # while the job was on its way, and there was nothing to cancel
            self.stop()
        return job.result(retry=self.retry)

    def columns_of(self, cursor: Any) -> Iterator[Sequence[Any]]:
        """Reads Arrow batches: by the storage API where it may, else by the plain one."""
        for batch in cursor.rows.to_arrow_iterable(bqstorage_client=self._storage):
            yield batch.columns

    def describe(self, sql: str) -> Sequence[Any]:
        """Has a query planned, not run; returns its schema.

        Raises:
            PermissionDenied: If BigQuery says that it is something else than a SELECT.
        """
        with self.bounded(self.options.statement_timeout), self.translated("the query"):
            job = self.start(sql, bigquery.QueryJobConfig(dry_run=True, use_query_cache=False))
            if job.statement_type != "SELECT":
                raise PermissionDenied(f"only a SELECT may be queried, not {job.statement_type or 'this'}")
            return list(job.schema or [])

    def stop(self) -> None:
        """Cancels the job."""
        if self._job is not None:
            self._job.cancel(retry=None, timeout=10)

    def close(self) -> None:
        """Lets the connections go."""
        with suppress(*self.failures):
            self.client.close()  # type: ignore[no-untyped-call]

    def fault(self, error: Exception) -> tuple[Fault, str]:
        """Goes by the class, which stands for a status; a job tells its reason too."""
        text = str(getattr(error, "message", None) or error)
        reasons = {str(entry.get("reason")) for entry in getattr(error, "errors", None) or []}
        if "stopped" in reasons:
            return Fault.CANCELED, text
        if reasons & {"quotaExceeded", "rateLimitExceeded"}:
            return Fault.BUSY, text
        return next((f for kind, f in _BY_CLASS if isinstance(error, kind)), Fault.UNREACHABLE), text


class _Cursor:
    """A query job and its rows, in the shape that links run statements in."""

    def __init__(self, link: BigQueryLink) -> None:
        self._link = link
        self.rows: Any = None

    def execute(self, sql: str) -> None:
        """Runs a statement and waits for its end."""
        self.rows = self._link.follow(self._link.start(sql))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Fetches all rows."""
        return [tuple(row.values()) for row in self.rows]


def _key(parameters: Connection) -> dict[str, Any]:
    try:
        key: dict[str, Any] = json.loads(parameters.secrets["keyFile"])
        return key | {"project_id": str(key["project_id"])}
    except (ValueError, KeyError, TypeError):
        raise InvalidArgument.of("secrets.keyFile", "is not the JSON key of a service account") from None


def _credentials(key: dict[str, Any]) -> Any:
    try:
        # The key's own address of the token service is not trusted: the key comes from a user.
        make: Any = Credentials.from_service_account_info
        return make(key | {"token_uri": _TOKENS}, scopes=[_SCOPE])
    except (ValueError, KeyError, TypeError):
        raise InvalidArgument.of("secrets.keyFile", "is not the JSON key of a service account") from None


def _storage(client: bigquery.Client) -> Any:
    from google.cloud.bigquery_storage import BigQueryReadClient

    make: Any = BigQueryReadClient
    return make(credentials=client._credentials)
