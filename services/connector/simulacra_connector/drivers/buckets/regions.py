"""Where S3 is spoken, and in which region a bucket is: requests are signed for it, or else refused."""

import base64
import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from simulacra.errors import InvalidArgument, SourceUnreachable
from simulacra_connector.drivers.base import SessionOptions
from simulacra_connector.net import allowed_addresses, dial
from simulacra_connector.types import Connection

__all__ = ["Endpoint", "bucket_region", "s3_endpoint"]

_PORTS = {"http": 80, "https": 443}
_USUAL = "us-east-1"
"""Of a service that knows no regions, and of Amazon's list of buckets."""
_OF_AMAZON = re.compile(
    r"(?:.+\.)?s3[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?"
)
_REGION = re.compile(r"[a-z0-9-]{1,40}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A service that speaks S3's protocol."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def region(self) -> str:
        """The region that its name is of, or what services without regions take."""
        named = _OF_AMAZON.fullmatch(self.host)
        return named[1] if named else _USUAL


def s3_endpoint(config: Mapping[str, Any]) -> Endpoint:
    """Returns a connector's endpoint, Amazon's without one.

    `sslEnabled` decides where the URL does not say http or https, and makes https of http.

    Raises:
        InvalidArgument: If the URL is none of a server.
    """
    url = str(config.get("endpointUrl") or "https://s3.amazonaws.com")
    if "://" not in url:
        url = f"{'https' if config.get('sslEnabled') else 'http'}://{url}"
    wrong = InvalidArgument.of("config.endpointUrl", f"{url!r} is not http(s)://host[:port]")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # of a port that is no number, or an address that is none
        raise wrong from None
    scheme = "https" if config.get("sslEnabled") else parts.scheme
    if scheme not in _PORTS or not parts.hostname or port == 0:
        raise wrong
    if parts.path not in ("", "/") or parts.username:
        raise wrong
    return Endpoint(scheme, parts.hostname, port or _PORTS[scheme])


def bucket_region(connection: Connection, options: SessionOptions, bucket: str) -> str:
    """Asks an endpoint where a bucket is, without credentials; whoever asks is told, also who may not look.

    A service that does not say so is taken to have one region, and one that does not answer will not answer
    who comes with credentials either.

    Raises:
        PermissionDenied: If the endpoint is in a denied network.
    """
    endpoint = s3_endpoint(connection.config)
    try:
        [address, *_] = allowed_addresses(
            endpoint.host, endpoint.port, denied_networks=options.denied_networks
        )
        dialed = dial(address, endpoint.port, options.connect_timeout)
        with closing(dialed), closing(_spoken(dialed, connection, endpoint)) as spoken:
            asked = http.client.HTTPConnection(endpoint.host, endpoint.port)
            asked.sock = spoken
            asked.request("HEAD", f"/{quote(bucket, safe='')}")
            found = asked.getresponse().headers.get("x-amz-bucket-region", "")
    except (OSError, http.client.HTTPException, SourceUnreachable):
        return endpoint.region
    return found if _REGION.fullmatch(found) else endpoint.region


def _spoken(dialed: socket.socket, connection: Connection, endpoint: Endpoint) -> socket.socket:
    """Returns what to speak over: TLS, by the authorities of the connector, where the endpoint has it."""
    if endpoint.scheme == "http":
        return dialed
    encoded = connection.ssl.get("caCertificate")
    trusted = base64.b64decode(encoded).decode("ascii", "ignore") if encoded else None
    return ssl.create_default_context(cadata=trusted).wrap_socket(dialed, server_hostname=endpoint.host)
