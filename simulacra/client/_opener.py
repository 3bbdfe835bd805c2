"""Where a client finds its platform: an address, the environment, or a stack started for it."""

import os
from pathlib import Path

from simulacra.client._embedded import EmbeddedStack, Endpoint
from simulacra.client._transport import Opener

__all__ = ["TEMPORARY", "opener"]

TEMPORARY = ":temporary:"
"""The data folder that goes with its client."""


def opener(address: str | None, api_key: str | None, data_dir: str | Path | None) -> Opener:
    """Returns what finds the platform when the first call is made."""
    address = address or (os.environ.get("SIMULACRA_ADDRESS") if data_dir is None else None)
    if address:
        endpoint = Endpoint(address, api_key or os.environ.get("SIMULACRA_API_KEY"))
        return lambda: endpoint
    temporary = data_dir == TEMPORARY
    folder = Path(data_dir).expanduser() if data_dir is not None and not temporary else None

    def embedded() -> EmbeddedStack:
        stack = EmbeddedStack(folder, temporary=temporary)
        if api_key:  # another user's than the first one's
            stack.endpoint = Endpoint(stack.endpoint.address, api_key)
        return stack

    return embedded
