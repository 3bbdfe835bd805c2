"""The `simulacra` command. It loads Typer alone at first; each command loads what it needs when it runs."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with a code of `simulacra.cli.output.ExitCode`."""
    from simulacra.cli.app import app

    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--json" not in given:
        app(given, prog_name="simulacra")
        return
    try:
        code = app(given, prog_name="simulacra", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # wrong use has it, whichever class Typer makes it of
            raise
        from simulacra.cli.output import ExitCode, print_json

        print_json({"error": {"reason": "WRONG_USE", "message": error.format_message()}})
        sys.exit(ExitCode.USAGE)
    sys.exit(code)
