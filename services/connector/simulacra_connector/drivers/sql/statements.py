"""Puts a statement of a user into a subquery from which it cannot break out."""

from collections.abc import Mapping

from simulacra.errors import InvalidArgument

__all__ = ["as_subquery"]

_DOUBLED: Mapping[str, str] = {"'": "'", '"': '"', "[": "]", "`": "`"}


def as_subquery(statement: str, *, quotes: str, backslashes: bool = False) -> str:
    """Returns the statement in parentheses.

    It stays inside: its own parentheses must match, and no literal or comment may be left open. What a
    database then takes as a derived table can only be a query, so this needs no list of forbidden words.

    `quotes` are the characters that open a literal or a quoted name (of `'`, `"`, `[` and a backtick);
    `backslashes` says whether a backslash escapes the character after it.

    Raises:
        InvalidArgument: If it would end early, or not at all.
    """
    text = statement.strip().rstrip(";").rstrip()
    depth = position = 0
    while position < len(text):
        character = text[position]
        if character in quotes:
            position = _end_of_literal(text, position, backslashes and character in "'\"")
        elif text.startswith("--", position):
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        elif text.startswith("/*", position):
            position = _end_of_comment(text, position)
        elif character == ";":
            raise _refused("it has more than one statement")
        elif character in "()":
            depth += 1 if character == "(" else -1
            if depth < 0:
                raise _refused("a closing parenthesis has no opening one")
        position += 1
    if depth:
        raise _refused("an opening parenthesis has no closing one")
    return f"(\n{text}\n)"


def _end_of_literal(text: str, start: int, backslashes: bool) -> int:
    """Returns the position of the closing quote; a doubled one is a character of the literal."""
    close = _DOUBLED[text[start]]
    position = start + 1
    while position < len(text):
        if backslashes and text[position] == "\\":
            position += 2
            continue
        if text[position] == close:
            if not text.startswith(close * 2, position):
                return position
            position += 1
        position += 1
    raise _refused(f"what {text[start]} opens is not closed")


def _end_of_comment(text: str, start: int) -> int:
    """Returns the position of the last character of a comment; one in it would end at different places."""
    end = text.find("*/", start + 2)
    if end < 0:
        raise _refused("a comment is not closed")
    if "/*" in text[start + 2 : end]:
        raise _refused("a comment is in a comment")
    return end + 1


def _refused(why: str) -> InvalidArgument:
    return InvalidArgument.of("sql", f"{why}; give one SELECT")
