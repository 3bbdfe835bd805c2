"""What is sampled beyond a number of rows: the API's configuration from a file, and rows to complete."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["Config", "SeedRows", "controls"]

Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A JSON file, or -, with the configuration as the API has it: "
        "tables with temperature, rebalancing, imputation, fairness.",
    ),
]
SeedRows = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Rows to complete: a file with some of the columns of the subject table."
    ),
]


def controls(config: Path | None, seed_rows: Path | None, seed: int | None) -> dict[str, Any]:
    """Returns the SDK's arguments `config` and `seed`.

    Raises:
        InvalidArgument: The configuration is no JSON object, or there is no file of rows.
    """
    from simulacra.errors import InvalidArgument

    given = {} if config is None else _read(config)
    if seed_rows is None:
        return {"config": given, "seed": seed}
    if not seed_rows.is_file():
        raise InvalidArgument.of("--seed-rows", f'there is no file "{seed_rows}"')
    return {"config": given if seed is None else given | {"seed": seed}, "seed": seed_rows}


def _read(path: Path) -> dict[str, Any]:
    from simulacra.errors import InvalidArgument

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
        found = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument.of("--config", f'"{path}" cannot be read: {error}') from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidArgument.of("--config", f'"{path}" is not JSON: {error}') from None
    if not isinstance(found, dict):
        raise InvalidArgument.of("--config", f'"{path}" has no JSON object but a {type(found).__name__}')
    return found
