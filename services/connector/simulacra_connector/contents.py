"""Checks what encoded and structured values hold, so that a wrong file is refused when it is given, not used.

Most of them are secrets: no message has any of a value in it.
"""

import base64
import json
import re
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from simulacra.domain import ConnectorFieldContent as Content

__all__ = ["checked_content", "krb5_hosts", "require_pair", "service_account_key"]

_PEM = "-----BEGIN "
_ENCODE = "encode the file with `base64 -w0 FILE`"
_KEYTABS = (b"\x05\x01", b"\x05\x02")
_PROJECT = re.compile(r"[A-Za-z0-9.:_-]{1,100}")
_SECTION = re.compile(r"\[\s*([^\]\s]+)\s*\]\*?")
_SETTING = re.compile(r"([^\s={}]+)\s*=\s*(.*)")
_KRB5_SECTIONS = ("libdefaults", "realms", "domain_realm", "capaths")
# These name files and programs of the machine, or load them.
_KRB5_REFUSED = re.compile(
    r"plugin_base_dir|pkinit_.*|http_anchors|default_(ccache|keytab|client_keytab)_name|k5login_.*"
)
_KRB5_SERVERS = ("kdc", "admin_server", "master_kdc", "primary_kdc", "kpasswd_server", "krb524_server")


def checked_content(content: Content, text: str) -> str:
    """Checks a value and returns it as drivers take it: base64 without line breaks.

    Raises:
        ValueError: If it holds something else; the message says what is wrong and how to make it right.
    """
    return _CHECKS[content](text)


def require_pair(certificate: str, key: str) -> None:
    """Checks that a private key belongs to a certificate, both PEM in base64 that has been checked.

    Raises:
        ValueError: If it belongs to another one.
    """
    chain = x509.load_pem_x509_certificates(base64.b64decode(certificate))
    private = serialization.load_pem_private_key(base64.b64decode(key), None)
    if _public(private.public_key()) != _public(chain[0].public_key()):
        raise ValueError("is not the key of the certificate; give the two that belong together")


def service_account_key(text: str) -> dict[str, Any]:
    """Reads the JSON key of a Google service account.

    Raises:
        ValueError: If it is none.
    """
    try:
        key = json.loads(text)
    except ValueError:
        raise ValueError(
            "is not JSON; give the text of a service account's key file, not its path or base64"
        ) from None
    if not isinstance(key, dict) or key.get("type") != "service_account":
        raise ValueError('is not the key of a service account: its "type" is not "service_account"')
    for name in ("project_id", "client_email", "private_key"):
        if not isinstance(key.get(name), str) or not key[name]:
            raise ValueError(f'is not a whole key: its "{name}" is missing; give the file as Google made it')
    if not _PROJECT.fullmatch(key["project_id"]):
        raise ValueError('its "project_id" is no project\'s')
    if not isinstance(_private_key(key["private_key"].encode()), RSAPrivateKey):
        raise ValueError('its "private_key" is no RSA key; give the file as Google made it')
    return key


def krb5_hosts(text: str) -> list[str]:
    """Returns the hosts of the servers that a krb5.conf names."""
    found = (_SETTING.fullmatch(line.strip()) for line in text.splitlines())
    values = [match[2].split() for match in found if match and match[1].rstrip("*") in _KRB5_SERVERS]
    return [re.sub(r"^\w+://|[:/]\d*[^\]]*$", "", value).strip("[]") for each in values for value in each]


def _service_account(text: str) -> str:
    service_account_key(text)
    return text


def _certificates(text: str) -> str:
    encoded, data = _decoded(text)
    try:
        x509.load_pem_x509_certificates(data)
    except ValueError:
        other = "a private key" if b"PRIVATE KEY-----" in data else "something else"
        form = "DER; turn it into PEM with `openssl x509 -inform der`" if data[:1] == b"0" else other
        raise ValueError(f"should hold certificates in PEM, and holds {form}") from None
    return encoded


def _pem_key(text: str) -> str:
    encoded, data = _decoded(text)
    _private_key(data)
    return encoded


def _private_key(data: bytes) -> object:
    try:
        return serialization.load_pem_private_key(data, None)
    except TypeError:
        raise ValueError("is encrypted with a passphrase; give the private key without one") from None
    except (ValueError, UnsupportedAlgorithm):
        other = "a certificate" if b"CERTIFICATE-----" in data else "something else"
        raise ValueError(f"should hold a private key in PEM, and holds {other}") from None


def _keytab(text: str) -> str:
    encoded, data = _decoded(text)
    if not data.startswith(_KEYTABS):
        raise ValueError(f"should hold a keytab, and holds something else; {_ENCODE}")
    return encoded


def _krb5_conf(text: str) -> str:
    section = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if header := _SECTION.fullmatch(line):
            section = header[1]
            if section not in _KRB5_SECTIONS:
                raise ValueError(
                    f"line {number}: section [{section}] is not for clients; leave it out, and keep "
                    f"{', '.join(f'[{name}]' for name in _KRB5_SECTIONS)}"
                )
        elif not section:
            raise ValueError(
                "is not the text of a krb5.conf, which begins with a section such as [libdefaults]; give the "
                "text itself, without include or module, not its path or base64"
            )
        elif re.match(r"(include|includedir|module)\s", line):
            raise ValueError(f"line {number}: no other files are read; give the whole text here")
        elif (setting := _SETTING.fullmatch(line)) and _KRB5_REFUSED.fullmatch(setting[1].rstrip("*")):
            raise ValueError(f"line {number}: {setting[1]} names files of the machine; leave it out")
    if not section:
        raise ValueError("is empty; give the text of a krb5.conf")
    return text


def _decoded(text: str) -> tuple[str, bytes]:
    """Returns base64 without line breaks, and what it encodes."""
    if text.lstrip().startswith(_PEM):
        raise ValueError(f"is the file itself, and should be its base64; {_ENCODE}")
    encoded = "".join(text.split())
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise ValueError(f"is not base64; {_ENCODE}") from None
    if not data:
        raise ValueError(f"is empty; {_ENCODE}")
    return encoded, data


def _public(key: Any) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    found: bytes = key.public_bytes(encoding, form)
    return found


_CHECKS: dict[Content, Callable[[str], str]] = {
    Content.CERTIFICATES: _certificates,
    Content.PRIVATE_KEY: _pem_key,
    Content.KEYTAB: _keytab,
    Content.KRB5_CONF: _krb5_conf,
    Content.SERVICE_ACCOUNT_KEY: _service_account,
}
