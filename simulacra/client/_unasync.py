"""Writes the blocking client from the asynchronous one: `python -m simulacra.client._unasync`.

`_aio/` is written by hand; each module of it becomes a module of `_sync/` by dropping `async` and `await` and
renaming `AsyncX` to `X`. So both clients have the same methods, types and documentation, and a debugger steps
through real code. A test checks that `_sync/` is what this module makes.
"""

import io
import sys
import tokenize
from pathlib import Path

__all__ = ["generated_modules", "main", "unasync"]

HERE = Path(__file__).parent
HEADER = "# Made from simulacra/client/_aio/{name} by `python -m simulacra.client._unasync`; do not edit.\n"
_RENAMED = {
    "_aio": "_sync",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclosing": "closing",
    "aclose": "close",
    "StopAsyncIteration": "StopIteration",
}


def _renamed(name: str) -> str:
    if name in _RENAMED:
        return _RENAMED[name]
    return name[5:] if name.startswith("Async") and name[5:6].isupper() else name


def unasync(source: str) -> str:
    """Returns the blocking form of a module's source."""
    lines = source.splitlines(keepends=True)
    edits: list[tuple[int, int, int, str]] = []  # line, first column, last column, replacement
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        (row, start), (_, end) = token.start, token.end
        if token.type == tokenize.NAME and token.string in ("async", "await"):
            edits.append((row, start, end + 1, ""))
        elif token.type == tokenize.NAME and _renamed(token.string) != token.string:
            edits.append((row, start, end, _renamed(token.string)))
        elif token.type == tokenize.STRING and token.start[0] == token.end[0] and "Async" in token.string:
            inner = token.string[1:-1]
            edits.append((row, start, end, token.string.replace(inner, _renamed(inner))))
    for row, start, end, text in reversed(edits):
        line = lines[row - 1]
        lines[row - 1] = line[:start] + text + line[end:]
    return "".join(lines)


def generated_modules() -> dict[Path, str]:
    """Returns each module of `_sync/` with the text that it must have, formatted and with sorted imports."""
    return {
        HERE / "_sync" / path.name: HEADER.format(name=path.name) + _formatted(unasync(path.read_text()))
        for path in sorted((HERE / "_aio").glob("*.py"))
    }


def _formatted(source: str) -> str:
    """Runs ruff, a tool of development: shorter names change where lines break and how imports sort."""
    import subprocess

    ruff = str(Path(sys.executable).parent / "ruff")
    name = str(HERE / "_sync" / "module.py")
    for arguments in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        command = [ruff, *arguments, "--stdin-filename", name, "-"]
        source = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
    return source


def main() -> None:
    """Writes `_sync/`."""
    for path, text in generated_modules().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
