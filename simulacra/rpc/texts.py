"""Text of requests that no service can keep: Postgres has no character 0, and files end at it."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from simulacra.errors import FieldViolation, InvalidArgument

__all__ = ["require_storable"]

_DESCRIPTION = "has the character 0 (NUL), which text cannot have; take it out"


def require_storable(message: Any, raw: bytes) -> None:
    """Refuses a request with the character 0 in any of its strings; bytes may hold what they like.

    Args:
        message: The request.
        raw: The bytes that it was parsed from; most have no zero at all, and need no walk.

    Raises:
        InvalidArgument: Names each such field by its dotted path.
    """
    if b"\0" not in raw or not isinstance(message, Message):
        return
    found = [FieldViolation(path, _DESCRIPTION) for path in _paths(message, "")]
    if found:
        raise InvalidArgument(
            "; ".join(f"{item.field}: {item.description}" for item in found), violations=found
        )


def _paths(message: Message, prefix: str) -> Iterator[str]:
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        if not field.is_repeated:
            yield from _within(value, path)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key in value:
                yield from _within(key, f"{path}.{_shown(key)}")
                yield from _within(value[key], f"{path}.{_shown(key)}")
        else:
            for index, item in enumerate(value):
                yield from _within(item, f"{path}.{index}")


def _within(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str):
        if "\0" in value:
            yield path
    elif isinstance(value, Message):
        yield from _paths(value, f"{path}.")


def _shown(key: object) -> str:
    return str(key).replace("\0", "\\0")
