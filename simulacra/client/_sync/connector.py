# Made from simulacra/client/_aio/connector.py by `python -m simulacra.client._unasync`; do not edit.
"""Connectors: databases, buckets and uploaded files that data comes from and goes to."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from simulacra import domain
from simulacra.client._frames import as_sources, frame_of
from simulacra.client._requests import validated
from simulacra.client._sync.session import Session
from simulacra.client._sync.sharing import Owned, new_request_id
from simulacra.client._sync.transfers import arrow_messages, read_tables, upload
from simulacra.client._tables import ResourceList
from simulacra.domain import ConnectorConfig, ConnectorListItem, ConnectorTypeDescription, TableSchema

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Connector", "Connectors"]


class Connector(domain.Connector, Owned):
    """A connection to a data source or destination."""

    _service: ClassVar[str] = "ConnectorService"

    def locations(self, prefix: str = "") -> list[str]:
        """Returns the schemas, tables, folders or files below `prefix`.

        Databases have locations such as `schema.table`, buckets such as `bucket/path`.
        """
        found: Any = self._session.do("ConnectorService.ListLocations", id=self.id, prefix=prefix)
        return list(found.locations)

    def schema(self, location: str) -> list[dict[str, Any]]:  # type: ignore[override]
        """Returns each column of the table at a location: name, original data type and default encoding."""
        columns = (self.table_schema(location)).columns or []
        return [column.model_dump(mode="json") for column in columns]

    def table_schema(self, location: str) -> TableSchema:
        """Returns the columns, keys and number of rows of the table at a location."""
        return self._session.call("ConnectorService.GetSchema", TableSchema, id=self.id, location=location)

    def update(
        self,
        name: str | None = None,
        config: dict[str, Any] | None = None,
        secrets: dict[str, str] | None = None,
        ssl: dict[str, str] | None = None,
        test_connection: bool | None = True,
    ) -> None:
        """Changes what is given; the connection is tested first unless `test_connection` is False."""
        changes = {"name": name, "config": config, "secrets": secrets, "ssl": ssl}
        given = {field: value for field, value in changes.items() if value is not None}
        self._session.replace(
            self,
            "ConnectorService.UpdateConnector",
            **given,
            update_mask=list(given),
            test_connection=test_connection,
        )

    def refresh(self) -> None:
        """Reads this connector anew."""
        self._session.replace(self, "ConnectorService.GetConnector")

    def delete(self) -> None:
        """Deletes the connector."""
        self._session.do("ConnectorService.DeleteConnector", id=self.id)

    def test_connection(self) -> None:
        """Connects once.

        Raises:
            SourceUnreachable: If the source does not answer.
            SourceAuthenticationFailed: If it refuses the credentials.
        """
        self._session.do("ConnectorService.TestConnection", id=self.id)

    def read_data(
        self,
        location: str | None = None,
        *,
        columns: tuple[str, ...] = (),
        max_rows: int | None = None,
        seed: int | None = None,
    ) -> "pd.DataFrame":
        """Returns rows of the table at a location, in their order.

        Args:
            location: The table; may be left out where the connector has only one.
            columns: The columns to read; all by default.
            max_rows: At most so many rows.
            seed: With `max_rows`: a random sample with this seed instead of the first rows.
        """
        place = location if location is not None else (self.locations())[0]
        tables = read_tables(
            self._session,
            "ConnectorService.ReadData",
            id=self.id,
            location=place,
            columns=columns,
            max_rows=max_rows,
            seed=seed,
        )
        return frame_of(next(iter(tables.values())))

    def write_data(
        self,
        data: "pd.DataFrame | pa.Table",
        location: str,
        *,
        overwrite_tables: bool = False,
        append_to_tables: bool = False,
    ) -> int:
        """Writes a frame to a location of a destination, all or nothing, and returns the number of rows.

        A table that is there is replaced, or added to; if neither is allowed, it is AlreadyExists.
        """
        table = data if isinstance(data, pa.Table) else pa.Table.from_pandas(data, preserve_index=False)
        header = {
            "id": self.id,
            "location": location,
            "overwrite_tables": overwrite_tables,
            "append_to_tables": append_to_tables,
        }
        messages = arrow_messages("ConnectorService.WriteData", header, table)
        written: Any = self._session.transport.send("ConnectorService.WriteData", messages)
        return int(written.rows)

    def query(self, sql: str, *, max_rows: int | None = None) -> "pd.DataFrame":
        """Returns the rows of a reading SQL statement."""
        tables = read_tables(self._session, "ConnectorService.Query", id=self.id, sql=sql, max_rows=max_rows)
        return frame_of(next(iter(tables.values())))


class Connectors:
    """All connectors that the caller may see."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, connector_id: str) -> Connector:
        """Returns one connector."""
        return self._session.call("ConnectorService.GetConnector", Connector, id=connector_id)

    def create(
        self, config: ConnectorConfig | Mapping[str, Any], *, test_connection: bool = True
    ) -> Connector:
        """Creates a connector; the connection is tested first unless `test_connection` is False."""
        return self._session.call(
            "ConnectorService.CreateConnector",
            Connector,
            config=validated(ConnectorConfig, config),
            test_connection=test_connection,
            request_id=new_request_id(),
        )

    def upload(self, data: object, *, name: str | None = None) -> Connector:
        """Uploads one frame or file in resumable chunks and returns its connector."""
        (source,) = self._session.in_thread(lambda: as_sources(data, name=name))
        return self._session.bind(upload(self._session, source), Connector)

    def list(
        self,
        *,
        search_term: str | None = None,
        types: tuple[str, ...] = (),
        access_type: str | None = None,
        limit: int | None = None,
    ) -> ResourceList[ConnectorListItem]:
        """Returns connectors, newest first; all of them unless `limit` is given."""
        return self._session.pages(
            "ConnectorService.ListConnectors",
            ConnectorListItem,
            limit=limit,
            search_term=search_term,
            types=types,
            access_type=access_type,
        )

    def delete(self, connector_id: str) -> None:
        """Deletes a connector."""
        self._session.do("ConnectorService.DeleteConnector", id=connector_id)

    def test(self, config: ConnectorConfig | Mapping[str, Any]) -> None:
        """Connects once with a configuration that is not saved."""
        self._session.do("ConnectorService.TestConnection", config=validated(ConnectorConfig, config))

    def types(self) -> ResourceList[ConnectorTypeDescription]:
        """Returns what each type of connector takes: its config, secrets and ssl fields."""
        found: Any = self._session.do("ConnectorService.ListConnectorTypes")
        return ResourceList(self._session.bind(item, ConnectorTypeDescription) for item in found.results)
