"""The locations of buckets, `bucket/path`, and patterns of such."""

import re

from simulacra.errors import InvalidArgument

__all__ = ["is_pattern", "matches", "object_path", "pattern_root"]

_SIGNS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^/\]]+\]")
_MEANINGS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def object_path(location: str) -> str:
    """Returns `bucket/path` without slashes around it; the bucket that it begins with is the one reached.

    Raises:
        InvalidArgument: It is a URL, or has a step such as `..` that a server may resolve to another bucket.
    """
    path = location.strip("/")
    if ":" in path.partition("/")[0]:
        raise InvalidArgument.of("location", f"{location!r} is a URL; give bucket/path")
    if path and any(step in ("", ".", "..") for step in path.split("/")):
        raise InvalidArgument.of("location", f"{location!r} has an empty step, '.' or '..'; give bucket/path")
    return path


def is_pattern(path: str) -> bool:
    """Tells whether a path has `*` or `?` in it."""
    return "*" in path or "?" in path


def pattern_root(pattern: str) -> str:
    """Returns the folder that all files of a pattern are in."""
    first = _SIGNS.search(pattern)
    return pattern[: first.start() if first else None].rpartition("/")[0]


def matches(path: str, pattern: str) -> bool:
    """Tells whether a pattern stands for a path.

    `*` and `?` are any characters, and any one, of one name, `**` of names and slashes; `[12]` is one of its
    characters, or itself.
    """
    expression, position = "", 0
    for sign in _SIGNS.finditer(pattern):
        expression += re.escape(pattern[position : sign.start()])
        expression += _MEANINGS.get(sign[0]) or _one_of(sign[0])
        position = sign.end()
    return re.fullmatch(expression + re.escape(pattern[position:]), path, re.DOTALL) is not None


def _one_of(sign: str) -> str:
    negated, inside = sign[1] == "!", sign[1:-1].removeprefix("!")
    members = re.sub(r"([\\^\[&~|])", r"\\\1", inside)
    try:
        chosen = f"(?!/)[{'^' if negated else ''}{members}]"
        re.compile(chosen)
    except re.error:  # such as a range that ends before it begins
        return re.escape(sign)
    return f"(?:{chosen}|{re.escape(sign)})"
