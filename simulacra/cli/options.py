"""Options that several commands share, and the client that they describe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulacra.client import Simulacra

__all__ = ["Address", "ApiKey", "DataDir", "Json", "client"]

Json = Annotated[
    bool,
    typer.Option(
        "--json", help="JSON on standard output, everything else on standard error.", show_default=False
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        envvar="SIMULACRA_ADDRESS", help="The platform, host:port. By default that of the data folder."
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        help="The key that opens the platform. By default SIMULACRA_API_KEY, or that of the data folder."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="SIMULACRA_DATA_DIR", help="The folder of the embedded platform. By default ~/.simulacra."
    ),
]


def client(address: str | None, api_key: str | None, data_dir: Path | None) -> "Simulacra":
    """Returns a client of the platform at an address, else of that of a data folder, started if need be."""
    from simulacra.client import Simulacra

    return Simulacra(address, api_key, data_dir=None if address else data_dir)
