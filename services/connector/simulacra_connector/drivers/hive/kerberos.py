"""Kerberos for Hive: a keytab's credentials live in memory, and the handshake is SASL's GSSAPI (RFC 4752)."""

import base64
import os
import threading
from pathlib import Path
from typing import Any

from simulacra.errors import DriverMissing, InvalidArgument
from simulacra_connector.types import Connection

__all__ = ["kerberos_connection"]

# Where the library looks for krb5.conf is a variable of the whole process.
_ENVIRONMENT = threading.Lock()
_NO_LAYER = b"\x01\x00\x00\x00"
"""The answer that asks for no security layer: TLS is what encrypts."""


def kerberos_connection(parameters: Connection, transport: dict[str, Any], folder: Path) -> Any:
    """Connects with a ticket for the service.

    Raises:
        DriverMissing: If there is no Kerberos library here.
        InvalidArgument: If the keytab or a principal cannot be used.
    """
    try:
        import gssapi
    except ImportError as error:
        raise DriverMissing(
            "Kerberos needs the package gssapi; run `pip install 'simulacra[kerberos]'` where the connector "
            "service runs",
            type=str(parameters.type),
            extra="kerberos",
        ) from error
    from impala import hiveserver2
    from impala._thrift_api import ThriftClient, get_socket
    from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
    from thrift_sasl import TSaslClientTransport

    config = parameters.config
    keytab = folder / "keytab"
    keytab.touch(mode=0o600)
    try:
        keytab.write_bytes(base64.b64decode(parameters.secrets["kerberosKeytab"], validate=True))
    except ValueError:
        raise InvalidArgument.of("secrets.kerberosKeytab", "is not base64") from None
    settings = folder / "krb5.conf"
    settings.write_text(str(config["kerberosKrb5Conf"]))
    client = config.get("kerberosClientPrincipal")
    with _ENVIRONMENT:
        before = os.environ.get("KRB5_CONFIG")
        os.environ["KRB5_CONFIG"] = str(settings)
        try:
            credentials = gssapi.Credentials(
                usage="initiate",
                name=gssapi.Name(client, gssapi.NameType.kerberos_principal) if client else None,
                store={"client_keytab": str(keytab), "ccache": f"MEMORY:{folder.name}"},
            )
            context = gssapi.SecurityContext(
                name=gssapi.Name(config["kerberosServicePrincipal"], gssapi.NameType.kerberos_principal),
                creds=credentials,
                usage="initiate",
            )
            socket = get_socket(
                transport["host"],
                transport["port"],
                transport["use_ssl"],
                transport["ca_cert"],
                transport["verify_cert"],
            )
            socket.setTimeout(transport["timeout"] * 1000)
            opened = TSaslClientTransport(lambda: _Handshake(context), "GSSAPI", socket)
            opened.open()
        except gssapi.exceptions.GSSError as error:
            raise InvalidArgument.of("config.kerberosServicePrincipal", f"no ticket: {error}") from None
        finally:
            if before is None:
                del os.environ["KRB5_CONFIG"]
            else:
                os.environ["KRB5_CONFIG"] = before
    service = hiveserver2.HS2Service(ThriftClient(TBinaryProtocolAccelerated(opened)), retries=3)
    return hiveserver2.HiveServer2Connection(service, default_db=None)


class _Handshake:
    """What thrift_sasl asks of a SASL client."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def start(self, mechanism: str) -> tuple[bool, str, bytes]:
        """Begins with a token for the service."""
        return True, mechanism, self._context.step() or b""

    def step(self, challenge: bytes) -> tuple[bool, bytes]:
        """Goes on until the context stands; then agrees on no security layer."""
        if not self._context.complete:
            return True, self._context.step(challenge) or b""
        self._context.unwrap(challenge)
        return True, self._context.wrap(_NO_LAYER, False).message

    def encode(self, data: bytes) -> tuple[bool, bytes]:
        """Leaves data as they are."""
        return True, data

    def decode(self, data: bytes) -> tuple[bool, bytes]:
        """Leaves data as they are."""
        return True, data

    def getError(self) -> str:  # noqa: N802 -- thrift_sasl calls it by this name
        """Says what went wrong."""
        return "the Kerberos handshake failed"
