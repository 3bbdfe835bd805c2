"""What the command line says and where: results on standard output, all else on standard error; exit codes.

With `--json` standard output holds JSON and nothing else; an error is then an object `{"error": {...}}`.
"""

import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import wraps
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any, ParamSpec

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from simulacra.errors import SimulacraError

__all__ = [
    "EXIT_CODES_HELP",
    "ExitCode",
    "console",
    "exit_code_of",
    "handles_errors",
    "note",
    "print_json",
    "show",
]

P = ParamSpec("P")


class ExitCode(IntEnum):
    """What the command's exit code means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    INVALID_INPUT = 4
    UNAVAILABLE = 5
    PERMISSION = 6
    WRONG_STATE = 7
    LIMIT = 8
    INTERRUPTED = 130
    TERMINATED = 143


_MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "a job failed or was canceled, or an unexpected error",
    ExitCode.USAGE: "wrong use of the command line",
    ExitCode.NOT_FOUND: "no such resource, job or location",
    ExitCode.INVALID_INPUT: "wrong input: a field, a file, an upload",
    ExitCode.UNAVAILABLE: "the platform does not answer; try again",
    ExitCode.PERMISSION: "not signed in, or not allowed",
    ExitCode.WRONG_STATE: "not possible in the resource's present state",
    ExitCode.LIMIT: "a limit is reached: quota, size, storage",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
    ExitCode.TERMINATED: "ended by SIGTERM",
}

EXIT_CODES_HELP = "Exit codes: " + " · ".join(f"{code.value} {text}" for code, text in _MEANINGS.items())

_BY_CANONICAL_CODE = {
    "INVALID_ARGUMENT": ExitCode.INVALID_INPUT,
    "OUT_OF_RANGE": ExitCode.INVALID_INPUT,
    "DATA_LOSS": ExitCode.INVALID_INPUT,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "ALREADY_EXISTS": ExitCode.WRONG_STATE,
    "FAILED_PRECONDITION": ExitCode.WRONG_STATE,
    "PERMISSION_DENIED": ExitCode.PERMISSION,
    "UNAUTHENTICATED": ExitCode.PERMISSION,
    "RESOURCE_EXHAUSTED": ExitCode.LIMIT,
    "UNAVAILABLE": ExitCode.UNAVAILABLE,
    "DEADLINE_EXCEEDED": ExitCode.UNAVAILABLE,
}


def exit_code_of(error: "SimulacraError") -> ExitCode:
    """Returns the exit code for an error."""
    return _BY_CANONICAL_CODE.get(error.code.name, ExitCode.FAILED)


def console(*, stderr: bool = False) -> "Console":
    """Returns a console on one of the standard streams; a terminal's width, or wide enough for a log."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    width = None if file.isatty() or "COLUMNS" in os.environ else 160
    return Console(stderr=stderr, width=width)


def note(text: str, *, style: str | None = None) -> None:
    """Tells the user something that is not the result."""
    console(stderr=True).print(_lines(text), style=style, markup=False, highlight=False, soft_wrap=True)


def _lines(text: str) -> str:
    """Returns text of which a terminal makes lines, and nothing else."""
    from simulacra.domain.text import visible

    return "\n".join(visible(line) for line in text.split("\n"))


def print_json(value: Any) -> None:
    """Prints one JSON document on one line."""
    print(json.dumps(plain(value), ensure_ascii=False, allow_nan=False), flush=True)  # noqa: T201 - it is the result


def plain(value: Any) -> Any:
    """Returns a value made of what JSON has: resources as their fields, missing numbers as null."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "item"):
        return plain(value.item())
    return str(value)


def show(value: Any, *, as_json: bool) -> None:
    """Prints a result: as JSON, or as the table that the resource draws itself."""
    if as_json:
        print_json(value)
        return
    from datetime import UTC, datetime

    from simulacra.client._progress import job_renderable
    from simulacra.domain import Job

    out = console()
    if isinstance(value, Job):
        out.print(f"{value.id}  of {value.resource_uri}", highlight=False, soft_wrap=True)
        value = job_renderable(value, now=datetime.now(UTC))
    out.print(value)


def handles_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Makes a command end with its exit code and a clear message, without a traceback for users' errors."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with _leaves_at_signals():
                command(*args, **kwargs)
        except KeyboardInterrupt:
            note("Interrupted.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:  # the reader of our output has seen enough
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes it at exit
            raise typer.Exit(ExitCode.OK) from None
        except OSError as error:
            told = f'"{error.filename}": {error.strerror}' if error.filename else str(error)
            _report({"reason": "FILE_ERROR", "message": told}, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(ExitCode.INVALID_INPUT) from None
        except Exception as error:
            from simulacra.errors import SimulacraError

            if not isinstance(error, SimulacraError):
                raise
            _report(_described(error), as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(exit_code_of(error)) from None

    return guarded


@contextmanager
def _leaves_at_signals() -> Iterator[None]:
    """Makes SIGTERM and the end of the terminal leave the block as an exception, so that all is closed."""

    def leave(number: int, _frame: object) -> None:
        note(f"Ended by {signal.Signals(number).name}.")
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP) if current_thread() is main_thread() else ()
    replaced = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def _described(error: "SimulacraError") -> dict[str, Any]:
    described: dict[str, Any] = {"reason": error.reason, "code": error.code.name, "message": error.message}
    if error.violations:
        described["violations"] = [
            {"field": violation.field, "description": violation.description} for violation in error.violations
        ]
    if error.metadata:
        described["metadata"] = dict(error.metadata)
    return described


def _report(described: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({"error": described})
        return
    from rich.text import Text

    stderr = console(stderr=True)
    violations: Iterable[dict[str, str]] = described.get("violations", ())
    fields = [f"{violation['field']}: {violation['description']}" for violation in violations]
    if fields != [described["message"]]:
        stderr.print(Text.assemble(("Error: ", "bold red"), _lines(described["message"])), soft_wrap=True)
        for line in fields:
            stderr.print(Text(f"  {_lines(line)}"), soft_wrap=True)
    else:
        stderr.print(Text.assemble(("Error: ", "bold red"), _lines(fields[0])), soft_wrap=True)
