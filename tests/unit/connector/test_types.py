"""The table of types is the schema's, and what a client sends is checked against it."""

import socket
from typing import Any

import pytest

from simulacra.domain import ConnectorType
from simulacra.errors import InvalidArgument, PermissionDenied
from simulacra_connector.net import allowed_addresses, dial, is_within
from simulacra_connector.types import TYPES, check_connection

# Config, secrets and ssl fields of each type, from the domain's schema; a default follows the name.
FIELDS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "MYSQL": (["host", "port=3306", "username"], ["password"], []),
    "MARIADB": (["host", "port=3306", "username"], ["password"], []),
    "POSTGRES": (
        ["host", "port=5432", "username", "database", "sslEnabled=False"],
        ["password"],
        ["rootCertificate", "sslCertificate", "sslCertificateKey"],
    ),
    "MSSQL": (["host", "port=1433", "username", "database"], ["password"], []),
    "ORACLE": (
        ["host", "port=1521", "username", "connectionType=SID", "database=ORCL"],
        ["password"],
        [],
    ),
    "SNOWFLAKE": (["account", "username", "warehouse=COMPUTE_WH", "database"], ["password"], []),
    "BIGQUERY": ([], ["keyFile"], []),
    "HIVE": (
        ["host", "port=10000", "username", "kerberosEnabled=False", "kerberosServicePrincipal",
         "kerberosClientPrincipal", "kerberosKrb5Conf", "sslEnabled=False"],
        ["password", "kerberosKeytab"],
        ["caCertificate"],
    ),
    "DATABRICKS": (
        ["host", "httpPath", "catalog", "clientId", "tenantId"], ["accessToken", "clientSecret"], []
    ),
    "AZURE_STORAGE": (["accountName", "clientId", "tenantId"], ["accountKey", "clientSecret"], []),
    "GOOGLE_CLOUD_STORAGE": ([], ["keyFile"], []),
    "S3_STORAGE": (["accessKey", "endpointUrl", "sslEnabled=False"], ["secretKey"], ["caCertificate"]),
    "FILE_UPLOAD": ([], [], []),
}  # fmt: skip


def test_fields_are_the_schemas() -> None:
    described = {
        info.type.value: tuple(
            [field.name if field.default is None else f"{field.name}={field.default}" for field in part]
            for part in (info.config, info.secrets, info.ssl)
        )
        for info in TYPES.values()
    }
    assert described == FIELDS
    assert set(FIELDS) == {type.value for type in ConnectorType}


def test_secrets_are_marked() -> None:
    assert all(field.secret for info in TYPES.values() for field in info.secrets)
    assert {field.name for info in TYPES.values() for field in info.ssl if field.secret} == {
        "sslCertificateKey"
    }


def check(**parts: Any) -> Any:
    config = {"host": "h", "username": "u", "database": "d"} | parts.pop("config", {})
    return check_connection(
        ConnectorType.POSTGRES, config=config, secrets=parts.get("secrets"), ssl=parts.get("ssl")
    )


def test_numbers_of_a_struct_become_integers() -> None:
    port = check(config={"port": 5433.0}).config["port"]
    assert (port, type(port)) == (5433, int)
    assert check().config["port"] == 5432


def test_violations_name_all_fields_and_no_secret() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(config={"port": True, "hots": "x", "host": None}, secrets={"password": "", "pasword": "hidden"})
    fields = [violation.field for violation in caught.value.violations]
    assert sorted(fields) == ["config.host", "config.hots", "config.port", "secrets.pasword"]
    assert "did you mean host" in caught.value.message
    assert "hidden" not in caught.value.message


def test_secrets_are_not_in_the_representation() -> None:
    assert "hidden" not in repr(check(secrets={"password": "hidden"}))


def test_one_complete_way_to_authenticate_is_needed() -> None:
    def azure(config: dict[str, Any], secrets: dict[str, str]) -> Any:
        return check_connection(
            ConnectorType.AZURE_STORAGE, config={"accountName": "abc"} | config, secrets=secrets, ssl=None
        )

    assert azure({}, {"accountKey": "k"})
    assert azure({"clientId": "c", "tenantId": "t"}, {"clientSecret": "s"})
    for config, secrets, fields in (
        ({}, {}, ["config"]),
        ({"clientId": "c"}, {"clientSecret": "s"}, ["config.tenantId"]),
        ({"tenantId": "t"}, {"accountKey": "k"}, ["config.tenantId"]),
        ({}, {"accountKey": ""}, ["config"]),
    ):
        with pytest.raises(InvalidArgument, match="account key") as caught:
            azure(config, secrets)
        assert [violation.field for violation in caught.value.violations] == fields


@pytest.mark.parametrize(
    "host", ["/tmp", "a,b", "a b", "", "a/b", "host=x", "-a", "a" * 300, "http://x", "[::1]", "a%20b"]
)
def test_no_host(host: str) -> None:
    with pytest.raises(InvalidArgument):
        allowed_addresses(host, 5432, denied_networks=())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "::1", "::ffff:127.0.0.1", "127.1",
        "0.0.0.0", "::", "::ffff:0.0.0.0",  # which connect to this machine
        "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "::127.0.0.1",  # translated on their way
    ],
)  # fmt: skip
def test_every_spelling_of_a_denied_address(host: str) -> None:
    with pytest.raises(PermissionDenied):
        allowed_addresses(host, 5432, denied_networks=("127.0.0.0/8", "::1/128"))


def test_an_address_that_is_translated_is_in_no_network_of_its_target() -> None:
    assert is_within("::ffff:127.0.0.1", ["127.0.0.0/8"])
    assert not is_within("64:ff9b::7f00:1", ["127.0.0.0/8"])
    assert not is_within("0.0.0.0", ["127.0.0.0/8"])


def test_a_connection_notices_when_its_peer_is_gone() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        dial("127.0.0.1", server.getsockname()[1], 3) as opened,
    ):
        assert opened.gettimeout() == 3
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
