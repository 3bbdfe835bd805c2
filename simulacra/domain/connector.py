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
    "ConnectorFieldCondition",
    "ConnectorFieldContent",
    "ConnectorFieldType",
    "ConnectorListItem",
    "ConnectorLogin",
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


class ConnectorFieldContent(Enumeration):
    """What a field holds beyond its type; a value that holds something else is refused when it is given."""

    CERTIFICATES = "CERTIFICATES"
    PRIVATE_KEY = "PRIVATE_KEY"
    KEYTAB = "KEYTAB"
    KRB5_CONF = "KRB5_CONF"
    SERVICE_ACCOUNT_KEY = "SERVICE_ACCOUNT_KEY"


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


class ConnectorFieldCondition(Model):
    """Holds where the field at a path, such as `config.sslEnabled`, has a value, in text such as `true`."""

    field: str
    value: str


class ConnectorField(Model):
    """One field of a connector type's config, secrets or ssl.

    With `only_if` it is only for connectors where that holds; `needs` are the paths of fields that must come
    with it. The whole value must match `pattern` and be from `minimum` to `maximum`.
    """

    name: str
    type: ConnectorFieldType
    required: bool = False
    default_value: str | None = None
    allowed_values: list[str] | None = None
    description: str = ""
    secret: bool = False
    only_if: ConnectorFieldCondition | None = None
    needs: list[str] | None = None
    pattern: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    content: ConnectorFieldContent | None = None


class ConnectorLogin(Model):
    """One way to log in, with the paths of its fields; it is chosen by its condition, or by giving them."""

    display_name: str
    required_fields: list[str]
    optional_fields: list[str] | None = None
    only_if: ConnectorFieldCondition | None = None


class ConnectorTypeDescription(Model):
    """What a type of connector takes, so that a client can draw a form for it.

    `logins` are the ways to log in where there are several; a connector has the fields of one of them.
    """

    type: ConnectorType
    display_name: str
    location_format: str = ""
    config: list[ConnectorField] | None = None
    secrets: list[ConnectorField] | None = None
    ssl: list[ConnectorField] | None = None
    available: bool = True
    extra: str | None = None
    logins: list[ConnectorLogin] | None = None


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
