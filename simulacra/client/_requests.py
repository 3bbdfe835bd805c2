"""Requests of the contract's methods, made from values in the domain's types."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ValidationError

from simulacra.client._transport import request_class
from simulacra.domain import Model, invalid_argument
from simulacra.errors import InvalidArgument
from simulacra.wire import to_proto

__all__ = ["assign", "message_of", "request", "validated"]

M = TypeVar("M", bound=BaseModel)


def validated(cls: type[M], value: M | Mapping[str, Any], *, prefix: str = "") -> M:
    """Returns a config from one of its class, or from a dict of its fields; `prefix` leads violations' paths.

    Raises:
        InvalidArgument: With each wrong field named.
    """
    try:
        return cls.model_validate(value)
    except ValidationError as error:
        raise invalid_argument(error, prefix=prefix, cls=cls) from None


def assign(target: BaseModel, field: str, value: object, *, name: str | None = None) -> None:
    """Sets a field of an object, for which the caller may have another name.

    Raises:
        InvalidArgument: If the value does not fit the field.
    """
    try:
        setattr(target, field, value)
    except ValidationError as error:
        text = invalid_argument(error).violations[0].description
        raise InvalidArgument.of(name or field, text) from None


def request(method: str, fields: Mapping[str, Any]) -> Message:
    """Returns the request of a method; None leaves a field unset."""
    return message_of(request_class(method), fields)


def message_of(cls: type[Message], fields: Mapping[str, Any]) -> Message:
    """Returns a message with these fields.

    Raises:
        InvalidArgument: If a value does not fit its field.
    """
    message = cls()
    for name, value in fields.items():
        if value is not None:
            field = cls.DESCRIPTOR.fields_by_name[name]
            try:
                _assign(message, field, value)
            except (TypeError, ValueError) as error:
                raise InvalidArgument.of(name, str(error)) from error
    return message


def _assign(message: Message, field: Any, value: Any) -> None:
    target = field.message_type
    if target is not None and target.GetOptions().map_entry:
        getattr(message, field.name).update(value)
    elif field.is_repeated:
        getattr(message, field.name).extend(_converted(field, item) for item in value)
    elif target is not None:
        getattr(message, field.name).CopyFrom(_converted(field, value))
    else:
        setattr(message, field.name, _converted(field, value))


def _converted(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        return _enum_number(field.enum_type, value)
    if field.message_type is None:
        return value
    if isinstance(value, Model):
        return to_proto(value)
    if isinstance(value, datetime):
        timestamp = Timestamp()
        timestamp.FromDatetime(value)
        return timestamp
    if field.message_type.full_name == FieldMask.DESCRIPTOR.full_name:
        return FieldMask(paths=list(value))
    if field.message_type.full_name == Struct.DESCRIPTOR.full_name:
        struct = Struct()
        struct.update(value)
        return struct
    return value


def _enum_number(enum: Any, value: Any) -> int:
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    known = enum.values_by_name.get(f"{prefix}{str(value).upper()}")
    if known is None or known.number == 0:
        names = ", ".join(item.name.removeprefix(prefix) for item in enum.values if item.number)
        raise ValueError(f'"{value}" is not one of {names}')
    return int(known.number)
