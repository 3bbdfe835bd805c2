"""`simulacra connectors types`: what each type of connector takes."""

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from simulacra.cli.options import Address, ApiKey, DataDir, Json, client
from simulacra.cli.output import console, print_json, show

if TYPE_CHECKING:
    from simulacra.domain import ConnectorTypeDescription

__all__ = ["connector_types"]


def connector_types(
    type: Annotated[
        str | None, typer.Argument(help="One type, such as POSTGRES, with all its fields.")
    ] = None,
    address: Address = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Lists the types of connectors, or shows the fields of one and its ways to log in."""
    with client(address, api_key, data_dir) as simulacra:
        found = simulacra.connectors.types()
    if type is None:
        show(found, as_json=as_json)
        return
    described = _named(type, found)
    if as_json:
        print_json(described)
        return
    from simulacra.client._tables import grids_of

    out = console()
    for grid in grids_of(described, title=described.type.value):
        out.print(grid)


def _named(type: str, found: "list[ConnectorTypeDescription]") -> "ConnectorTypeDescription":
    by_name = {item.type.value: item for item in found}
    if type.upper() not in by_name:
        close = get_close_matches(type.upper(), by_name, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(by_name)}"
        raise typer.BadParameter(f"{type!r} is no type of connector; {hint}")
    return by_name[type.upper()]
