"""What each connector type consists of: its config, secrets and ssl fields, and the driver that serves it.

This table is what ListConnectorTypes returns, what a new connector is checked against, and the one place
where a type is registered.
"""

from dataclasses import dataclass
from typing import Any

from simulacra.domain import ConnectorFieldContent as Content
from simulacra.domain import ConnectorType, ConnectorTypeDescription
from simulacra_connector.checking import checked_parts
from simulacra_connector.fields import Condition, ConnectorField, ConnectorTypeInfo, Login
from simulacra_connector.net import HOST

__all__ = ["TYPES", "Connection", "StoredFile", "check_connection", "describe"]


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
    return ConnectorField("host", f"Host name or address of the {what}, without a scheme.", pattern=HOST)


def _port(default: int) -> ConnectorField:
    return ConnectorField(
        "port", "TCP port of the server.", "integer", required=False, default=default, range=(1, 65535)
    )


def _file(name: str, description: str, content: Content, **more: Any) -> ConnectorField:
    return ConnectorField(name, description, "base64", required=False, content=content, **more)


_TLS_ON = Condition("config.sslEnabled", True)
_KERBEROS, _NO_KERBEROS = (Condition("config.kerberosEnabled", value) for value in (True, False))
_USERNAME = ConnectorField("username", "User to log in as.")
_PASSWORD = ConnectorField("password", "Password of the user.", required=False, secret=True)
_KEY_FILE = ConnectorField(
    "keyFile", "JSON key of a service account.", secret=True, content=Content.SERVICE_ACCOUNT_KEY
)
_TLS = ConnectorField(
    "sslEnabled", "Whether to demand TLS and verify the server.", "boolean", required=False, default=False
)
_CLIENT_ID = ConnectorField("clientId", "Client id of a service principal.", required=False)
_TENANT_ID = ConnectorField(
    "tenantId", "Tenant id of a service principal.", required=False, pattern=r"[A-Za-z0-9.-]{1,253}"
)
_CLIENT_SECRET = ConnectorField("clientSecret", "Secret of a service principal.", required=False, secret=True)
_PRINCIPAL = Login("service principal", ("config.clientId", "config.tenantId", "secrets.clientSecret"))
_ACCOUNT = "[A-Za-z0-9]([A-Za-z0-9._-]{0,250}[A-Za-z0-9])?"
_MYSQL_CONFIG = (_host(), _port(3306), _USERNAME)
_MYSQL_DRIVER = "simulacra_connector.drivers.mysql:MySqlSession"

_POSTGRES = ConnectorTypeInfo(
    ConnectorType.POSTGRES,
    "PostgreSQL",
    "schema.table",
    config=(_host(), _port(5432), _USERNAME, ConnectorField("database", "Database to connect to."), _TLS),
    secrets=(_PASSWORD,),
    ssl=(
        _file("rootCertificate", "CA certificate to trust, PEM.", Content.CERTIFICATES, only_if=_TLS_ON),
        _file(
            "sslCertificate",
            "Client certificate, PEM.",
            Content.CERTIFICATES,
            only_if=_TLS_ON,
            needs=("ssl.sslCertificateKey",),
        ),
        _file(
            "sslCertificateKey",
            "Client certificate's private key, PEM.",
            Content.PRIVATE_KEY,
            secret=True,
            only_if=_TLS_ON,
            needs=("ssl.sslCertificate",),
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
        ConnectorField("username", "User to log in as.", required=False, only_if=_NO_KERBEROS),
        ConnectorField(
            "kerberosEnabled", "Whether to use Kerberos.", "boolean", required=False, default=False
        ),
        ConnectorField(
            "kerberosServicePrincipal", "Principal of the service.", required=False, only_if=_KERBEROS
        ),
        ConnectorField(
            "kerberosClientPrincipal",
            "Principal of the client; by default the keytab's first.",
            required=False,
            only_if=_KERBEROS,
        ),
        ConnectorField(
            "kerberosKrb5Conf",
            "Text of krb5.conf.",
            required=False,
            content=Content.KRB5_CONF,
            only_if=_KERBEROS,
        ),
        _TLS,
    ),
    secrets=(
        ConnectorField(
            "password", "Password of the user.", required=False, secret=True, only_if=_NO_KERBEROS
        ),
        _file("kerberosKeytab", "Keytab of the client.", Content.KEYTAB, secret=True, only_if=_KERBEROS),
    ),
    ssl=(_file("caCertificate", "CA certificate to trust, PEM.", Content.CERTIFICATES, only_if=_TLS_ON),),
    logins=(
        Login("password", ("config.username",), ("secrets.password",), only_if=_NO_KERBEROS),
        Login(
            "Kerberos",
            ("config.kerberosServicePrincipal", "config.kerberosKrb5Conf", "secrets.kerberosKeytab"),
            ("config.kerberosClientPrincipal",),
            only_if=_KERBEROS,
        ),
    ),
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
            ConnectorField("account", "Account identifier, without a domain.", pattern=_ACCOUNT),
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
            ConnectorField("httpPath", "HTTP path of the SQL warehouse.", pattern="[A-Za-z0-9._~/-]+"),
            ConnectorField("catalog", "Catalog to use."),
            _CLIENT_ID,
            _TENANT_ID,
        ),
        secrets=(
            ConnectorField("accessToken", "Personal access token.", required=False, secret=True),
            _CLIENT_SECRET,
        ),
        logins=(Login("access token", ("secrets.accessToken",)), _PRINCIPAL),
        driver="simulacra_connector.drivers.databricks:DatabricksSession",
        extra="databricks",
    ),
    ConnectorTypeInfo(
        ConnectorType.AZURE_STORAGE,
        "Azure Blob Storage",
        "container/path",
        driver="simulacra_connector.drivers.buckets:AzureSession",
        config=(
            ConnectorField("accountName", "Storage account.", pattern="[a-z0-9]{3,24}"),
            _CLIENT_ID,
            _TENANT_ID,
        ),
        secrets=(
            ConnectorField("accountKey", "Key of the account.", required=False, secret=True),
            _CLIENT_SECRET,
        ),
        logins=(Login("account key", ("secrets.accountKey",)), _PRINCIPAL),
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
            ConnectorField(
                "endpointUrl",
                "URL of an S3-compatible service other than AWS, http(s)://host[:port].",
                required=False,
                pattern=r"(https?://)?[^\s/?#@]+/?",
            ),
            _TLS,
        ),
        secrets=(ConnectorField("secretKey", "Secret access key.", secret=True),),
        ssl=(_file("caCertificate", "CA certificate to trust, PEM.", Content.CERTIFICATES),),
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
        InvalidArgument: If a field is unknown, missing or wrong; its violations name each.
    """
    checked = checked_parts(TYPES[type], {"config": config or {}, "secrets": secrets or {}, "ssl": ssl or {}})
    return Connection(type, checked["config"], checked["secrets"], checked["ssl"])


def describe(info: ConnectorTypeInfo, *, available: bool) -> ConnectorTypeDescription:
    """Returns what a client is told about a type, so that it can draw a form."""
    return info.described(available=available)
