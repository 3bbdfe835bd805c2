"""What each connector type consists of: its config, secrets and ssl fields, and the driver that serves it.

This table is what ListConnectorTypes returns, what a new connector is checked against, and the one place
where a type is registered.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from simulacra import domain
from simulacra.domain import ConnectorType, ConnectorTypeDescription
from simulacra.errors import FieldViolation, InvalidArgument

__all__ = [
    "TYPES",
    "Connection",
    "ConnectorField",
    "ConnectorTypeInfo",
    "StoredFile",
    "check_connection",
    "describe",
]

FieldType = Literal["string", "integer", "boolean", "base64", "enum"]
Part = Literal["config", "secrets", "ssl"]


@dataclass(frozen=True, slots=True)
class ConnectorField:
    """One field of a connector's config, secrets or ssl."""

    name: str
    description: str
    type: FieldType = "string"
    required: bool = True
    default: str | int | bool | None = None
    values: tuple[str, ...] = ()
    secret: bool = False

    def parse(self, value: object) -> str | int | bool:
        """Returns the value in the field's type; a Struct has made 5432 into 5432.0.

        Raises:
            ValueError: If the value is not of the type; the message says what is.
        """
        match self.type, value:
            case "boolean", bool():
                return value
            case "integer", int() | float() if not isinstance(value, bool) and int(value) == value:
                return int(value)
            case "integer", str() if value.isdecimal():
                return int(value)
            case "enum", str() if value in self.values:
                return value
            case "enum", _:
                raise ValueError(f"{value!r} is none of {', '.join(self.values)}")
            case "string" | "base64", str():
                return value
        raise ValueError(f"expected {self.type}, got {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class ConnectorTypeInfo:
    """One connector type; `driver` is `module:class`, None while this version has none."""

    type: ConnectorType
    display_name: str
    location_format: str
    config: tuple[ConnectorField, ...] = ()
    secrets: tuple[ConnectorField, ...] = ()
    ssl: tuple[ConnectorField, ...] = ()
    alternatives: tuple[tuple[str, ...], ...] = ()
    """Sets of optional fields of which one must be complete, for example a token or a service principal."""
    driver: str | None = None
    extra: str | None = None
    """The extra of the distribution that brings the driver's packages."""
    creatable: bool = True
    """Whether CreateConnector makes it; a FILE_UPLOAD is made by an upload."""

    def part(self, part: Part) -> tuple[ConnectorField, ...]:
        """Returns the fields of one part."""
        return {"config": self.config, "secrets": self.secrets, "ssl": self.ssl}[part]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file: its name, which is its only location, and the artifact that holds its rows."""

    file_name: str
    artifact: str


@dataclass(frozen=True, slots=True)
class Connection:
    """The checked parameters of one connector, secrets in plain text; lives in memory only."""

    type: ConnectorType
    config: dict[str, Any]
    secrets: dict[str, str]
    ssl: dict[str, str]
    upload: StoredFile | None = None
    """Where the rows of a FILE_UPLOAD are."""

    def __repr__(self) -> str:
        """Leaves the secrets out, so that no log or traceback has them."""
        return f"Connection({self.type}, {self.config})"


def _host(what: str = "server") -> ConnectorField:
    return ConnectorField("host", f"Host name or address of the {what}.")


def _port(default: int) -> ConnectorField:
    return ConnectorField("port", "TCP port of the server.", "integer", required=False, default=default)


_USERNAME = ConnectorField("username", "User to log in as.")
_PASSWORD = ConnectorField("password", "Password of the user.", required=False, secret=True)
_KEY_FILE = ConnectorField("keyFile", "JSON key of a service account.", secret=True)
_TLS = ConnectorField(
    "sslEnabled", "Whether to demand TLS and verify the server.", "boolean", required=False, default=False
)
_CA = ConnectorField("caCertificate", "CA certificate to trust, PEM.", "base64", required=False)
_CLIENT_ID = ConnectorField("clientId", "Client id of a service principal.", required=False)
_TENANT_ID = ConnectorField("tenantId", "Tenant id of a service principal.", required=False)
_CLIENT_SECRET = ConnectorField("clientSecret", "Secret of a service principal.", required=False, secret=True)
_MYSQL_CONFIG = (_host(), _port(3306), _USERNAME)
_MYSQL_DRIVER = "simulacra_connector.drivers.mysql:MySqlSession"

_POSTGRES = ConnectorTypeInfo(
    ConnectorType.POSTGRES,
    "PostgreSQL",
    "schema.table",
    config=(_host(), _port(5432), _USERNAME, ConnectorField("database", "Database to connect to."), _TLS),
    secrets=(_PASSWORD,),
    ssl=(
        ConnectorField("rootCertificate", "CA certificate to trust, PEM.", "base64", required=False),
        ConnectorField("sslCertificate", "Client certificate, PEM.", "base64", required=False),
        ConnectorField(
            "sslCertificateKey",
            "Client certificate's private key, PEM.",
            "base64",
            required=False,
            secret=True,
        ),
    ),
    driver="simulacra_connector.drivers.postgres:PostgresSession",
    extra="postgres",
)

_HIVE = ConnectorTypeInfo(
    ConnectorType.HIVE,
    "Apache Hive",
    "database.table",
    config=(
        _host(),
        _port(10000),
        ConnectorField("username", "User to log in as; without Kerberos.", required=False),
        ConnectorField(
            "kerberosEnabled", "Whether to use Kerberos.", "boolean", required=False, default=False
        ),
        ConnectorField("kerberosServicePrincipal", "Principal of the service.", required=False),
        ConnectorField("kerberosClientPrincipal", "Principal of the client.", required=False),
        ConnectorField("kerberosKrb5Conf", "Text of krb5.conf.", required=False),
        _TLS,
    ),
    secrets=(
        _PASSWORD,
        ConnectorField("kerberosKeytab", "Keytab of the client.", "base64", required=False, secret=True),
    ),
    ssl=(_CA,),
    alternatives=(("username",), ("kerberosServicePrincipal", "kerberosKrb5Conf", "kerberosKeytab")),
    driver="simulacra_connector.drivers.hive:HiveSession",
    extra="hive",
)

_INFOS = (
    ConnectorTypeInfo(
        ConnectorType.MYSQL,
        "MySQL",
        "database.table",
        config=_MYSQL_CONFIG,
        secrets=(_PASSWORD,),
        driver=_MYSQL_DRIVER,
        extra="mysql",
    ),
    _POSTGRES,
    ConnectorTypeInfo(
        ConnectorType.MSSQL,
        "Microsoft SQL Server",
        "schema.table",
        config=(_host(), _port(1433), _USERNAME, ConnectorField("database", "Database to connect to.")),
        secrets=(_PASSWORD,),
        driver="simulacra_connector.drivers.mssql:MssqlSession",
        extra="mssql",
    ),
    ConnectorTypeInfo(
        ConnectorType.ORACLE,
        "Oracle",
        "schema.table",
        config=(
            _host(),
            _port(1521),
            _USERNAME,
            ConnectorField(
                "connectionType",
                "Whether database is a SID or a service name.",
                "enum",
                required=False,
                default="SID",
                values=("SID", "SERVICE_NAME"),
            ),
            ConnectorField("database", "SID or service name.", required=False, default="ORCL"),
        ),
        secrets=(_PASSWORD,),
        driver="simulacra_connector.drivers.oracle:OracleSession",
        extra="oracle",
    ),
    ConnectorTypeInfo(
        ConnectorType.MARIADB,
        "MariaDB",
        "database.table",
        config=_MYSQL_CONFIG,
        secrets=(_PASSWORD,),
        driver=_MYSQL_DRIVER,
        extra="mysql",
    ),
    ConnectorTypeInfo(
        ConnectorType.SNOWFLAKE,
        "Snowflake",
        "schema.table",
        config=(
            ConnectorField("account", "Account identifier."),
            _USERNAME,
            ConnectorField("warehouse", "Warehouse to run in.", required=False, default="COMPUTE_WH"),
            ConnectorField("database", "Database to connect to."),
        ),
        secrets=(_PASSWORD,),
        driver="simulacra_connector.drivers.snowflake:SnowflakeSession",
        extra="snowflake",
    ),
    ConnectorTypeInfo(
        ConnectorType.BIGQUERY,
        "Google BigQuery",
        "dataset.table",
        secrets=(_KEY_FILE,),
        driver="simulacra_connector.drivers.bigquery:BigQuerySession",
        extra="bigquery",
    ),
    _HIVE,
    ConnectorTypeInfo(
        ConnectorType.DATABRICKS,
        "Databricks",
        "schema.table",
        config=(
            _host("workspace"),
            ConnectorField("httpPath", "HTTP path of the SQL warehouse."),
            ConnectorField("catalog", "Catalog to use."),
            _CLIENT_ID,
            _TENANT_ID,
        ),
        secrets=(
            ConnectorField("accessToken", "Personal access token.", required=False, secret=True),
            _CLIENT_SECRET,
        ),
        alternatives=(("accessToken",), ("clientId", "tenantId", "clientSecret")),
        driver="simulacra_connector.drivers.databricks:DatabricksSession",
        extra="databricks",
    ),
    ConnectorTypeInfo(
        ConnectorType.AZURE_STORAGE,
        "Azure Blob Storage",
        "container/path",
        driver="simulacra_connector.drivers.buckets:AzureSession",
        config=(ConnectorField("accountName", "Storage account."), _CLIENT_ID, _TENANT_ID),
        secrets=(
            ConnectorField("accountKey", "Key of the account.", required=False, secret=True),
            _CLIENT_SECRET,
        ),
        alternatives=(("accountKey",), ("clientId", "tenantId", "clientSecret")),
    ),
    ConnectorTypeInfo(
        ConnectorType.GOOGLE_CLOUD_STORAGE,
        "Google Cloud Storage",
        "bucket/path",
        driver="simulacra_connector.drivers.buckets:GoogleSession",
        extra="gcs",
        secrets=(_KEY_FILE,),
    ),
    ConnectorTypeInfo(
        ConnectorType.S3_STORAGE,
        "Amazon S3",
        "bucket/path",
        driver="simulacra_connector.drivers.buckets:S3Session",
        config=(
            ConnectorField("accessKey", "Access key id."),
            ConnectorField("endpointUrl", "URL of an S3-compatible service other than AWS.", required=False),
            _TLS,
        ),
        secrets=(ConnectorField("secretKey", "Secret access key.", secret=True),),
        ssl=(_CA,),
    ),
    ConnectorTypeInfo(
        ConnectorType.FILE_UPLOAD,
        "File upload",
        "",
        driver="simulacra_connector.drivers.uploads:UploadSession",
        creatable=False,
    ),
)

TYPES: dict[ConnectorType, ConnectorTypeInfo] = {info.type: info for info in _INFOS}


def check_connection(
    type: ConnectorType,
    *,
    config: dict[str, Any] | None,
    secrets: dict[str, str] | None,
    ssl: dict[str, str] | None,
) -> Connection:
    """Checks parameters against their type's fields and fills in defaults.

    Raises:
        InvalidArgument: If a field is unknown, missing or of a wrong type; its violations name each.
    """
    info = TYPES[type]
    violations: list[FieldViolation] = []
    given: dict[Part, dict[str, Any]] = {"config": config or {}, "secrets": secrets or {}, "ssl": ssl or {}}
    checked = {part: _check_part(info, part, values, violations) for part, values in given.items()}
    present = {name for values in checked.values() for name, value in values.items() if value != ""}
    if info.alternatives and not any(present.issuperset(names) for names in info.alternatives):
        choices = ", or ".join(" and ".join(names) for names in info.alternatives)
        violations.append(FieldViolation("config", f"give {choices}"))
    if violations:
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        raise InvalidArgument(f"the {type} connector is not complete: {text}", violations=violations)
    return Connection(type, checked["config"], checked["secrets"], checked["ssl"])


def _check_part(
    info: ConnectorTypeInfo, part: Part, given: dict[str, Any], violations: list[FieldViolation]
) -> dict[str, Any]:
    fields = {field.name: field for field in info.part(part)}
    for name in given.keys() - fields.keys():
        close = get_close_matches(name, fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join(fields) or 'none'}"
        violations.append(FieldViolation(f"{part}.{name}", f"{info.type} has no such field; {hint}"))
    checked: dict[str, Any] = {}
    for name, field in fields.items():
        value = given.get(name)
        if value is None or (value == "" and part != "secrets"):
            if field.required:
                violations.append(FieldViolation(f"{part}.{name}", "is required"))
            elif field.default is not None:
                checked[name] = field.default
            continue
        try:
            checked[name] = field.parse(value)
        except ValueError as error:
            # A secret's value must not come back in the message.
            text = f"expected {field.type}" if field.secret else str(error)
            violations.append(FieldViolation(f"{part}.{name}", text))
    return checked


def describe(info: ConnectorTypeInfo, *, available: bool) -> ConnectorTypeDescription:
    """Returns what a client is told about a type, so that it can draw a form."""
    return ConnectorTypeDescription(
        type=info.type,
        display_name=info.display_name,
        location_format=info.location_format,
        config=[_described(field) for field in info.config],
        secrets=[_described(field) for field in info.secrets],
        ssl=[_described(field) for field in info.ssl],
        available=available,
        extra=info.extra,
    )


def _described(field: ConnectorField) -> domain.ConnectorField:
    default = str(field.default)
    if field.type == "boolean":
        default = default.lower()
    return domain.ConnectorField(
        name=field.name,
        type=domain.ConnectorFieldType(field.type),
        required=field.required,
        default_value=None if field.default is None else default,
        allowed_values=list(field.values),
        description=field.description,
    )
