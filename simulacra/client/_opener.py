"""Where a client finds its platform: an address, the environment, or a stack started for it."""

import os
from dataclasses import replace
from pathlib import Path

from simulacra.client._embedded import EmbeddedStack, Endpoint
from simulacra.client._transport import Opener

__all__ = ["TEMPORARY", "opener"]

TEMPORARY = ":temporary:"
"""The data folder that goes with its client."""


def opener(
    address: str | None,
    api_key: str | None,
    data_dir: str | Path | None,
    tls_ca: str | Path | None = None,
) -> Opener:
    """Returns what finds the platform when the first call is made."""
    ca = tls_ca or os.environ.get("SIMULACRA_TLS_CA")
    trusted = Path(ca).expanduser() if ca else None
    address = address or (os.environ.get("SIMULACRA_ADDRESS") if data_dir is None else None)
    if address:
        endpoint = Endpoint(address, api_key or os.environ.get("SIMULACRA_API_KEY"), trusted)
        return lambda: endpoint
    temporary = data_dir == TEMPORARY
    folder = Path(data_dir).expanduser() if data_dir is not None and not temporary else None

    def embedded() -> EmbeddedStack:
        stack = EmbeddedStack(folder, temporary=temporary)
        # The key may be another user's than the first one's.
        stack.endpoint = replace(stack.endpoint, api_key=api_key or stack.endpoint.api_key, tls_ca=trusted)
        return stack

    return embedded
