"""Update masks: which fields of a request an Update is to change."""

from collections.abc import Collection
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from simulacra.domain.text import did_you_mean
from simulacra.errors import FieldViolation, InvalidArgument
from simulacra.wire._registry import Descriptor
from simulacra.wire.mapper import field_from_proto

__all__ = ["masked_fields"]


def masked_fields(source: Message, mask: FieldMask, *, allowed: Collection[str]) -> dict[str, Any]:
    """Returns the domain values of exactly the fields that a mask names, by dotted path; None if absent.

    An empty mask names all allowed fields that are set. `Model.updated` applies the result to an object.

        changes = masked_fields(request, request.update_mask, allowed=("name", "description"))
        generator = generator.updated(changes)

    Args:
        source: The message that holds the new values: an Update request, or its `config`.
        mask: The request's `update_mask`, relative to `source`.
        allowed: The names of the top-level fields that may be changed.

    Raises:
        InvalidArgument: If a path is not a field or may not be changed, or a value is wrong.
    """
    paths = list(dict.fromkeys(mask.paths)) or [
        field.name for field, _ in source.ListFields() if field.name in allowed
    ]
    wrong = [text for path in paths if (text := _objection(source.DESCRIPTOR, path, allowed))]
    if wrong:
        raise InvalidArgument(
            "; ".join(f"update_mask: {text}" for text in wrong),
            violations=[FieldViolation("update_mask", text) for text in wrong],
        )
    # A path inside another one adds nothing: the outer one replaces the whole.
    outer = [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]
    return {path: _value_at(source, path) for path in outer}


def _objection(message: Descriptor, path: str, allowed: Collection[str]) -> str | None:
    """Says what is wrong with a path; None if nothing is."""
    head, *rest = path.split(".")
    if head not in allowed:
        return f'"{path}" cannot be changed{did_you_mean(head, allowed)}'
    field = message.fields_by_name[head]
    for name in rest:
        inner = None if field.is_repeated else field.message_type
        if inner is None or inner.file.package.startswith("google."):
            return f'"{path}" goes into "{field.name}", which is changed as a whole'
        if name not in inner.fields_by_name:
            return f'"{path}" is not a field{did_you_mean(name, inner.fields_by_name)}'
        field = inner.fields_by_name[name]
    return None


def _value_at(message: Message, path: str) -> Any:
    *outer, last = path.split(".")
    for name in outer:
        message = getattr(message, name)
    return field_from_proto(message, message.DESCRIPTOR.fields_by_name[last], prefix=path)
