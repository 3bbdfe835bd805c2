"""`simulacra generators|datasets|connectors|jobs list|get|delete`: one table, one set of commands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulacra.cli.connector_types import connector_types
from simulacra.cli.options import Address, ApiKey, DataDir, Json, client
from simulacra.cli.output import EXIT_CODES_HELP, handles_errors, note, print_json, show

if TYPE_CHECKING:
    from simulacra.client import Simulacra

__all__ = ["add_resource_commands"]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of resource: its word, its collection at the client, and the verbs that end it."""

    word: str
    collection: Callable[["Simulacra"], Any]
    endings: tuple[str, ...] = ("delete",)
    deletes: str = ""
    more: Mapping[str, Callable[..., None]] = field(default_factory=dict)
    """Commands that only this kind has, by their names."""


_KINDS = {
    "generators": _Kind("generator", lambda simulacra: simulacra.generators),
    "datasets": _Kind("synthetic dataset", lambda simulacra: simulacra.synthetic_datasets),
    "connectors": _Kind("connector", lambda simulacra: simulacra.connectors, more={"types": connector_types}),
    "jobs": _Kind(
        "job",
        lambda simulacra: simulacra.jobs,
        ("delete", "cancel"),
        "Cancels a job that has not ended, deletes an evaluation; others are deleted with their resource.",
    ),
}

Id = Annotated[str, typer.Argument(help="The unique identifier.")]


def add_resource_commands(app: typer.Typer) -> None:
    """Adds a group of commands for each kind."""
    for name, kind in _KINDS.items():
        group = typer.Typer(
            no_args_is_help=True,
            help=f"Lists, shows and {' or '.join(f'{verb}s' for verb in kind.endings)} {name}.",
            epilog=EXIT_CODES_HELP,
        )
        group.command("list", epilog=EXIT_CODES_HELP)(handles_errors(_list_command(kind)))
        group.command("get", epilog=EXIT_CODES_HELP)(handles_errors(_get_command(kind)))
        for verb in kind.endings:
            group.command(verb, epilog=EXIT_CODES_HELP)(handles_errors(_end_command(kind, verb)))
        for verb, command in kind.more.items():
            group.command(verb, epilog=EXIT_CODES_HELP)(handles_errors(command))
        app.add_typer(group, name=name)


def _list_command(kind: _Kind) -> Callable[..., None]:
    def command(
        limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
        search: Annotated[str | None, typer.Option(help="Only those whose name contains this.")] = None,
        status: Annotated[
            list[str] | None, typer.Option(help="Only those in this status; may be repeated.")
        ] = None,
        address: Address = None,
        api_key: ApiKey = None,
        data_dir: DataDir = None,
        as_json: Json = False,
    ) -> None:
        filters: dict[str, Any] = {"limit": limit}
        if search is not None:
            filters["search_term"] = search
        if status:
            filters["statuses"] = tuple(status)
        with client(address, api_key, data_dir) as simulacra:
            found = kind.collection(simulacra).list(**_accepted(kind, filters))
        show(found, as_json=as_json)

    command.__doc__ = f"Lists {kind.word}s, newest first."
    return command


def _accepted(kind: _Kind, filters: dict[str, Any]) -> dict[str, Any]:
    lacking = {"job": {"search_term"}, "connector": {"statuses"}}.get(kind.word, set()) & filters.keys()
    if lacking:
        raise typer.BadParameter(f"{kind.word}s cannot be filtered by {', '.join(sorted(lacking))}")
    return filters


def _get_command(kind: _Kind) -> Callable[..., None]:
    def command(
        id: Id,
        address: Address = None,
        api_key: ApiKey = None,
        data_dir: DataDir = None,
        as_json: Json = False,
    ) -> None:
        with client(address, api_key, data_dir) as simulacra:
            show(kind.collection(simulacra).get(id), as_json=as_json)

    command.__doc__ = f"Shows one {kind.word}."
    return command


def _end_command(kind: _Kind, verb: str) -> Callable[..., None]:
    def command(
        id: Id,
        address: Address = None,
        api_key: ApiKey = None,
        data_dir: DataDir = None,
        as_json: Json = False,
    ) -> None:
        with client(address, api_key, data_dir) as simulacra:
            left = getattr(kind.collection(simulacra), verb)(id)
        if as_json:
            print_json(left if left is not None else {"id": id, "deleted": True})
        else:
            note(f"The {kind.word} {id} is {'deleted' if left is None else 'asked to stop'}.")

    command.__doc__ = (kind.deletes if verb == "delete" else "") or f"{verb.capitalize()}s a {kind.word}."
    return command
