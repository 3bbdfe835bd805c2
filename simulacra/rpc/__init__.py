"""The rpc kernel: server, channel, errors as statuses, authentication, pass-through.

The names of the server side load their modules on first use, because the SDK is installed without them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from simulacra.rpc.auth import (
    Limits,
    Principal,
    PrincipalSigner,
    acting_as,
    current_principal,
    current_principal_or_none,
    current_request_id,
)
from simulacra.rpc.channel import ServiceChannel, ServiceStream, channel_credentials, open_channel
from simulacra.rpc.status import call_error, to_status

if TYPE_CHECKING:
    from simulacra.rpc.process import Component, main
    from simulacra.rpc.server import Registration, Server
    from simulacra.rpc.settings import ServiceSettings

__all__ = [
    "Component",
    "Limits",
    "Principal",
    "PrincipalSigner",
    "Registration",
    "Server",
    "ServiceChannel",
    "ServiceSettings",
    "ServiceStream",
    "acting_as",
    "call_error",
    "channel_credentials",
    "current_principal",
    "current_principal_or_none",
    "current_request_id",
    "main",
    "open_channel",
    "to_status",
]

_SERVER_SIDE = {
    "Component": "process",
    "Registration": "server",
    "Server": "server",
    "ServiceSettings": "settings",
    "main": "process",
}


def __getattr__(name: str) -> Any:
    if name in _SERVER_SIDE:
        return getattr(importlib.import_module(f"{__name__}.{_SERVER_SIDE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
