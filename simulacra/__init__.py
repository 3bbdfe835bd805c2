"""Simulacra: privacy-safe synthetic data of people's own databases.

    from simulacra import Simulacra

    with Simulacra() as client:  # an address, SIMULACRA_ADDRESS, or a stack started for you
        generator = client.train(data=frame, name="people")
        synthetic = client.generate(generator, size=10_000).data()

Names are loaded when first used (PEP 562), so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulacra.client import AsyncSimulacra, Simulacra
    from simulacra.errors import (
        InvalidArgument,
        JobFailed,
        ResourceNotFound,
        ServiceUnavailable,
        SimulacraError,
    )

__all__ = [
    "AsyncSimulacra",
    "InvalidArgument",
    "JobFailed",
    "ResourceNotFound",
    "ServiceUnavailable",
    "Simulacra",
    "SimulacraError",
    "__version__",
]

_MODULES = {
    "AsyncSimulacra": "simulacra.client",
    "Simulacra": "simulacra.client",
    "InvalidArgument": "simulacra.errors",
    "JobFailed": "simulacra.errors",
    "ResourceNotFound": "simulacra.errors",
    "ServiceUnavailable": "simulacra.errors",
    "SimulacraError": "simulacra.errors",
}

__version__: str


def __getattr__(name: str) -> Any:
    """Loads an exported name from the module that defines it."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("simulacra")
        except PackageNotFoundError:
            return "0+unknown"
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
