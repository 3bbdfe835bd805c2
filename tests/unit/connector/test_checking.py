"""What a connector is made with is checked as a whole: conditions, encoded files, ways to log in."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from simulacra.domain import ConnectorType
from simulacra.errors import InvalidArgument
from simulacra_connector.contents import krb5_hosts
from simulacra_connector.types import TYPES, Connection, check_connection
from tests.certificates import self_signed, service_account_key

KRB5 = """
# a comment
[libdefaults]
    default_realm = EXAMPLE.COM
[realms]
    EXAMPLE.COM = {
        kdc = kdc.example.com:88
        admin_server = [2001:db8::1]:749
    }
[domain_realm]
    .example.com = EXAMPLE.COM
"""
KERBEROS = {"kerberosEnabled": True, "kerberosServicePrincipal": "hive/h@R", "kerberosKrb5Conf": KRB5}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


KEYTAB = encoded(b"\x05\x02rest")


def check(type: str, config: dict[str, Any], secrets: Any = None, ssl: Any = None) -> Connection:
    defaults = {"host": "h", "username": "u", "database": "d"} if type == "POSTGRES" else {}
    defaults = {"host": "h"} if type == "HIVE" else defaults
    return check_connection(ConnectorType(type), config=defaults | config, secrets=secrets, ssl=ssl)


def faults(type: str, config: dict[str, Any], secrets: Any = None, ssl: Any = None) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        check(type, config, secrets, ssl)
    return {violation.field: violation.description for violation in caught.value.violations}


def test_hive_takes_a_user_or_kerberos() -> None:
    assert check("HIVE", {"username": "u"}, {"password": ""})
    assert check("HIVE", KERBEROS, {"kerberosKeytab": KEYTAB})
    assert faults("HIVE", {}) == {"config.username": "is required as config.kerberosEnabled is false"}
    assert sorted(faults("HIVE", {"kerberosEnabled": True})) == [
        "config.kerberosKrb5Conf",
        "config.kerberosServicePrincipal",
        "secrets.kerberosKeytab",
    ]


def test_fields_that_would_be_passed_over_are_refused() -> None:
    found = faults("HIVE", {"username": "u", "kerberosServicePrincipal": "p"}, {"kerberosKeytab": KEYTAB})
    assert sorted(found) == ["config.kerberosServicePrincipal", "secrets.kerberosKeytab"]
    assert "set config.kerberosEnabled to true" in found["secrets.kerberosKeytab"]
    assert list(faults("HIVE", KERBEROS | {"username": "u"}, {"kerberosKeytab": KEYTAB})) == [
        "config.username"
    ]


def test_certificates_without_tls_are_refused(tmp_path: Path) -> None:
    certificate = encoded(self_signed(tmp_path)[0].read_bytes())
    assert check("POSTGRES", {"sslEnabled": True}, ssl={"rootCertificate": certificate})
    found = faults("POSTGRES", {}, ssl={"rootCertificate": certificate})
    assert "set config.sslEnabled to true" in found["ssl.rootCertificate"]


def test_key_and_certificate_belong_together(tmp_path: Path) -> None:
    (one, its_key), (_, another) = self_signed(tmp_path, "one"), self_signed(tmp_path, "two")
    tls, certificate = {"sslEnabled": True}, {"sslCertificate": encoded(one.read_bytes())}
    pair = certificate | {"sslCertificateKey": encoded(its_key.read_bytes())}
    assert check("POSTGRES", tls, ssl=pair).ssl == pair
    found = faults("POSTGRES", tls, ssl=certificate)
    assert found == {"ssl.sslCertificateKey": "is required with ssl.sslCertificate"}
    wrong = certificate | {"sslCertificateKey": encoded(another.read_bytes())}
    assert "is not the key of the certificate" in faults("POSTGRES", tls, ssl=wrong)["ssl.sslCertificateKey"]


def test_encoded_files_are_opened_when_they_are_given(tmp_path: Path) -> None:
    file, key = self_signed(tmp_path)
    pem = file.read_bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    for value, words in (
        ("no base64!", "is not base64; encode the file with"),
        (pem.decode(), "is the file itself, and should be its base64"),
        (encoded(der), "holds DER; turn it into PEM with"),
        (encoded(key.read_bytes()), "holds a private key"),
        (encoded(b"planted"), "holds something else"),
    ):
        assert (
            words
            in faults("POSTGRES", {"sslEnabled": True}, ssl={"rootCertificate": value})["ssl.rootCertificate"]
        )
    lines = base64.encodebytes(pem).decode()
    assert "\n" in lines
    kept = check("POSTGRES", {"sslEnabled": True}, ssl={"rootCertificate": lines})
    assert base64.b64decode(kept.ssl["rootCertificate"], validate=True) == pem
    bundle = encoded(pem + pem)
    assert check("S3_STORAGE", {"accessKey": "a"}, {"secretKey": "s"}, {"caCertificate": bundle})


def test_private_keys_are_opened_when_they_are_given(tmp_path: Path) -> None:
    file, key = self_signed(tmp_path)
    private: Any = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    certificate = encoded(file.read_bytes())
    for value, words in ((locked, "passphrase"), (file.read_bytes(), "holds a certificate"), (b"x", "else")):
        ssl = {"sslCertificate": certificate, "sslCertificateKey": encoded(value)}
        assert words in faults("POSTGRES", {"sslEnabled": True}, ssl=ssl)["ssl.sslCertificateKey"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/home/me/key.json", "not its path"),
        ("[1]", "is not the key of a service account"),
        ('{"type": "authorized_user"}', "is not the key of a service account"),
        (json.dumps({"type": "service_account", "project_id": "p", "client_email": "e"}), "private_key"),
        (service_account_key(private_key="planted"), "private key in PEM"),
        (service_account_key(project_id="p/../q"), "project_id"),
    ],
)
@pytest.mark.parametrize("type", ["BIGQUERY", "GOOGLE_CLOUD_STORAGE"])
def test_key_of_a_service_account_is_whole(type: str, text: str, words: str) -> None:
    found = faults(type, {}, {"keyFile": text})["secrets.keyFile"]
    assert words in found
    assert "planted" not in found
    assert check(type, {}, {"keyFile": service_account_key()})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/etc/krb5.conf", "is not the text of a krb5.conf"),
        ("include /etc/passwd", "is not the text of a krb5.conf"),
        ("", "is required"),
        (" # nothing\n", "is empty"),
        ("[libdefaults]\ninclude /etc/passwd", "line 2: no other files"),
        ("[plugins]\nclpreauth = {\nmodule = x:/tmp/x.so\n}", "line 1: section"),
        ("[libdefaults]\n  plugin_base_dir = /tmp", "line 2: plugin_base_dir"),
        ("[libdefaults]\n  pkinit_identities* = FILE:/x", "line 2: pkinit_identities"),
    ],
)
def test_krb5_conf_names_no_files_of_the_machine(text: str, words: str) -> None:
    found = faults("HIVE", KERBEROS | {"kerberosKrb5Conf": text}, {"kerberosKeytab": KEYTAB})
    assert words in found["config.kerberosKrb5Conf"]


def test_servers_of_a_krb5_conf() -> None:
    assert krb5_hosts(KRB5) == ["kdc.example.com", "2001:db8::1"]
    assert krb5_hosts("kdc = https://proxy.example.com/KdcProxy") == ["proxy.example.com"]


@pytest.mark.parametrize(
    ("type", "field", "value"),
    [
        ("POSTGRES", "config.host", "https://db.example.com"),
        ("POSTGRES", "config.host", "a\0b"),
        ("POSTGRES", "config.port", 0),
        ("POSTGRES", "config.port", float("inf")),
        ("S3_STORAGE", "config.endpointUrl", "ftp://host"),
        ("S3_STORAGE", "config.endpointUrl", "http://user@host"),
        ("SNOWFLAKE", "config.account", "a/../b"),
        ("AZURE_STORAGE", "config.accountName", "a.example.com#"),
        ("AZURE_STORAGE", "config.tenantId", "t/../x"),
        ("DATABRICKS", "config.httpPath", "/sql?x"),
        ("MSSQL", "secrets.password", "a\0planted"),
    ],
)
def test_values_that_no_server_could_take_are_refused(type: str, field: str, value: Any) -> None:
    part, _, name = field.partition(".")
    parts: dict[str, Any] = {"config": {}, "secrets": {}} | {part: {name: value}}
    found = faults(type, parts["config"], parts["secrets"])
    assert found[field] not in ("is required", "")
    assert "planted" not in found[field]


def test_paths_in_the_descriptions_are_fields() -> None:
    for info in TYPES.values():
        fields = {
            f"{part}.{field.name}" for part in ("config", "secrets", "ssl") for field in info.part(part)
        }
        named = {path for login in info.logins for path in login.fields}
        for part in ("config", "secrets", "ssl"):
            for field in info.part(part):
                named |= {*field.needs} | ({field.only_if.field} if field.only_if else set())
        assert named <= fields
