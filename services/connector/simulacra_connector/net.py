"""Decides which addresses a connector may reach, so that it cannot be used to look into the platform's own.

A host name is resolved once, its addresses are checked, and the driver is told to connect to exactly these: a
name that resolves differently a moment later (DNS rebinding) gains nothing.
"""

import ipaddress
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path

from simulacra.errors import InvalidArgument, PermissionDenied, SourceUnreachable

__all__ = ["HOST", "allowed_addresses", "dial", "is_within", "tls_context", "untrusted"]

# Also what keeps a database client from reading a socket path or a list of hosts out of the field.
HOST = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}"
# RFC 6052 and 8215: the last four bytes are an IPv4 address, which a gateway (NAT64) connects to.
_NAT64 = tuple(ipaddress.IPv6Network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48"))
# A peer that is gone without a word is asked after half a minute, and given up after another half.
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
_LOOPBACK = {4: ipaddress.ip_address("127.0.0.1"), 6: ipaddress.ip_address("::1")}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def allowed_addresses(host: str, port: int, *, denied_networks: Sequence[str]) -> list[str]:
    """Resolves a host and returns its addresses, none of which is in a denied network.

    Raises:
        InvalidArgument: If it is no host name or the port is out of range.
        SourceUnreachable: If the name does not resolve.
        PermissionDenied: If an address is in a denied network.
    """
    if not re.fullmatch(HOST, host):
        raise InvalidArgument.of("config.host", f"{host!r} is not a host name or an IP address")
    if not 1 <= port <= 65535:
        raise InvalidArgument.of("config.port", f"{port} is not a port; give 1 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SourceUnreachable(f'host "{host}" does not resolve: {error.strerror}', host=host) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if any(_in_one_of(reached, denied_networks) for reached in _reached(_parsed(address))):
            raise PermissionDenied(
                f'host "{host}" is at {address}, in a network that connectors may not reach; '
                "the operator's setting denied_networks says which",
                host=host,
            )
    return addresses


def dial(address: str, port: int, seconds: float) -> socket.socket:
    """Connects to an address, over a connection that notices when its peer is gone."""
    opened = socket.create_connection((address, port), seconds)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not every system has all of them
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return opened


def is_within(address: str, networks: Sequence[str]) -> bool:
    """Tells whether an address itself, not one that it might be translated to, is in one of the networks."""
    return _in_one_of(_unmapped(_parsed(address)), networks)


def tls_context(authorities: Path | None) -> ssl.SSLContext:
    """Makes what verifies servers: by the authorities that this machine trusts, and by those of a file."""
    context = ssl.create_default_context()
    if authorities is not None:
        context.load_verify_locations(authorities)
    return context


def untrusted(where: str, reason: str) -> SourceUnreachable:
    """Makes the error for a server that cannot be trusted: why, and what can be done about it."""
    return SourceUnreachable(
        f"{where} cannot prove who it is: {reason}. A server needs TLS and a certificate for this very host, "
        "of an authority that is trusted here; the operator's setting source_ca_file adds authorities, and "
        "tls_optional_networks says where servers need none",
        host=where,
    )


def _parsed(address: str) -> Address:
    return ipaddress.ip_address(address.partition("%")[0])


def _unmapped(ip: Address) -> Address:
    """Returns the IPv4 address that an operating system connects to for `::ffff:a.b.c.d`."""
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def _reached(ip: Address) -> Iterator[Address]:
    """Yields every address that a connection to this one may end at: translators and tunnels hide IPv4."""
    yield ip
    if ip.is_unspecified:  # which connects to this machine
        yield _LOOPBACK[ip.version]
    if not isinstance(ip, ipaddress.IPv6Address):
        return
    if ip.ipv4_mapped:
        yield from _reached(ip.ipv4_mapped)
    if ip.sixtofour:
        yield ip.sixtofour
    if ip.teredo:
        yield from ip.teredo
    if any(ip in network for network in _NAT64) or int(ip) >> 32 == 0:  # the latter: IPv4-compatible
        yield ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)


def _in_one_of(ip: Address, networks: Sequence[str]) -> bool:
    parsed = map(ipaddress.ip_network, networks)
    return any(ip in network for network in parsed if network.version == ip.version)
