"""Connectors: connections to the databases, buckets and files that data come from and go to."""

from pydantic import Field

from simulacra.domain.base import Count, Enumeration, JsonObject, Model, Name
from simulacra.domain.common import Metadata
from simulacra.domain.model import ModelEncodingType

__all__ = [
    "ColumnSchema",
    "Connector",
    "ConnectorAccessType",
    "ConnectorConfig",
    "ConnectorField",
    "ConnectorFieldType",
    "ConnectorListItem",
    "ConnectorType",
    "ConnectorTypeDescription",
    "ConnectorUsage",
    "ForeignKeySchema",
    "TableSchema",
    "connector_config",
    "connector_list_item",
]


class ConnectorType(Enumeration):
    """The type of a connector; it determines the fields of `config`, `secrets` and `ssl`."""

    MYSQL = "MYSQL"
    POSTGRES = "POSTGRES"
    MSSQL = "MSSQL"
    ORACLE = "ORACLE"
    MARIADB = "MARIADB"
    SNOWFLAKE = "SNOWFLAKE"
    BIGQUERY = "BIGQUERY"
    HIVE = "HIVE"
    DATABRICKS = "DATABRICKS"
    AZURE_STORAGE = "AZURE_STORAGE"
    GOOGLE_CLOUD_STORAGE = "GOOGLE_CLOUD_STORAGE"
    S3_STORAGE = "S3_STORAGE"
    FILE_UPLOAD = "FILE_UPLOAD"


class ConnectorAccessType(Enumeration):
    """In which direction a connector may be used."""

    SOURCE = "SOURCE"
    DESTINATION = "DESTINATION"


class ConnectorFieldType(Enumeration):
    """The type of a field of a connector's settings."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    BOOLEAN = "BOOLEAN"
    BASE64 = "BASE64"
    ENUM = "ENUM"


class ConnectorUsage(Model):
    """How much a connector is used."""

    no_of_shares: Count | None = None
    no_of_generators: Count | None = None
    no_of_synthetic_datasets: Count | None = None


class Connector(Model):
    """A connection to a data source or a data destination.

    Secrets and private keys are never returned; `secrets_set` names those that are set. A connector with a
    `table_id` belongs to that table and is deleted with it.
    """

    id: str
    name: Name
    type: ConnectorType
    access_type: ConnectorAccessType
    config: JsonObject | None = None
    secrets: dict[str, str] | None = Field(default=None, repr=False)
    ssl: dict[str, str] | None = Field(default=None, repr=False)
    metadata: Metadata | None = None
    usage: ConnectorUsage | None = None
    table_id: str | None = None
    secrets_set: list[str] | None = None
    revision: Count = 0


class ConnectorConfig(Model):
    """The configuration of a new connector; its fields are those that its type describes."""

    name: Name | None = None
    type: ConnectorType
    access_type: ConnectorAccessType | None = ConnectorAccessType.SOURCE
    config: JsonObject | None = None
    secrets: dict[str, str] | None = Field(default=None, repr=False)
    ssl: dict[str, str] | None = Field(default=None, repr=False)


class ConnectorListItem(Model):
    """What a list shows of a connector."""

    id: str
    name: str
    type: ConnectorType
    access_type: ConnectorAccessType
    metadata: Metadata
    usage: ConnectorUsage | None = None


class ConnectorField(Model):
    """One field of a connector type's config, secrets or ssl."""

    name: str
    type: ConnectorFieldType
    required: bool = False
    default_value: str | None = None
    allowed_values: list[str] | None = None
    description: str = ""


class ConnectorTypeDescription(Model):
    """What a type of connector takes, so that a client can draw a form for it."""

    type: ConnectorType
    display_name: str
    location_format: str = ""
    config: list[ConnectorField] | None = None
    secrets: list[ConnectorField] | None = None
    ssl: list[ConnectorField] | None = None
    available: bool = True
    extra: str | None = None


class ColumnSchema(Model):
    """What a source says about a column."""

    name: str
    original_data_type: str
    default_model_encoding_type: ModelEncodingType
    nullable: bool = True


class ForeignKeySchema(Model):
    """What a source says about a foreign key."""

    columns: list[str]
    referenced_location: str
    referenced_columns: list[str]


class TableSchema(Model):
    """What a source says about one of its tables."""

    location: str
    columns: list[ColumnSchema]
    primary_key: list[str] | None = None
    foreign_keys: list[ForeignKeySchema] | None = None
    total_rows: Count | None = None
    referenced_by: list[str] | None = None


def connector_config(connector: Connector) -> ConnectorConfig:
    """Returns what may be written of a connector; its secrets are not known any more."""
    return ConnectorConfig(**{name: getattr(connector, name) for name in ConnectorConfig.model_fields})


def connector_list_item(connector: Connector) -> ConnectorListItem:
    """Returns what a list shows of a connector."""
    values = {name: getattr(connector, name) for name in ConnectorListItem.model_fields}
    return ConnectorListItem(**values | {"metadata": connector.metadata or Metadata()})
