"""The Python SDK: `Simulacra` for scripts and notebooks, `AsyncSimulacra` for asyncio.

Both have the same methods; the blocking one is made from the other (`_unasync.py`).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulacra.client._aio.client import AsyncSimulacra
    from simulacra.client._aio.connector import AsyncConnector
    from simulacra.client._aio.generator import AsyncGenerator
    from simulacra.client._aio.synthetic_dataset import AsyncSyntheticDataset
    from simulacra.client._sync.client import Simulacra
    from simulacra.client._sync.connector import Connector
    from simulacra.client._sync.generator import Generator
    from simulacra.client._sync.synthetic_dataset import SyntheticDataset

__all__ = [
    "AsyncConnector",
    "AsyncGenerator",
    "AsyncSimulacra",
    "AsyncSyntheticDataset",
    "Connector",
    "Generator",
    "Simulacra",
    "SyntheticDataset",
]

_MODULES = {
    "Connector": "connector",
    "Generator": "generator",
    "Simulacra": "client",
    "SyntheticDataset": "synthetic_dataset",
}


def __getattr__(name: str) -> Any:
    """Loads an exported class from the module that defines it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    package = "_aio" if name.startswith("Async") else "_sync"
    module = importlib.import_module(f"{__name__}.{package}.{_MODULES[name.removeprefix('Async')]}")
    value = globals()[name] = getattr(module, name)
    return value
