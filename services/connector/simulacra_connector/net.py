"""Decides which addresses a connector may reach, so that it cannot be used to look into the platform's own.

A host name is resolved once, its addresses are checked, and the driver is told to connect to exactly these: a
name that resolves differently a moment later (DNS rebinding) gains nothing.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence

from simulacra.errors import InvalidArgument, PermissionDenied, SourceUnreachable

__all__ = ["allowed_addresses"]

# Also what keeps a database client from reading a socket path or a list of hosts out of the field.
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")


def allowed_addresses(host: str, port: int, *, denied_networks: Sequence[str]) -> list[str]:
    """Resolves a host and returns its addresses, none of which is in a denied network.

    Raises:
        InvalidArgument: If it is no host name or the port is out of range.
        SourceUnreachable: If the name does not resolve.
        PermissionDenied: If an address is in a denied network.
    """
    if not _HOST.fullmatch(host):
        raise InvalidArgument.of("config.host", f"{host!r} is not a host name or an IP address")
    if not 1 <= port <= 65535:
        raise InvalidArgument.of("config.port", f"{port} is not a port; give 1 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SourceUnreachable(f'host "{host}" does not resolve: {error.strerror}', host=host) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    networks = [ipaddress.ip_network(network) for network in denied_networks]
    for address in addresses:
        ip = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        if any(ip in network for network in networks if network.version == ip.version):
            raise PermissionDenied(
                f'host "{host}" is at {address}, in a network that connectors may not reach; '
                "the operator's setting denied_networks says which",
                host=host,
            )
    return addresses
