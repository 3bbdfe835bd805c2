"""Domain objects to messages and back, by one plan for each class that its descriptor and fields determine.

A plan is a table of the fields with a converter for each that needs one, made when a class is first met. Both
ways go through plain dicts and lists, so that protobuf and pydantic each build a whole tree in one call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from google.protobuf.message import Message
from pydantic import BaseModel, ValidationError

from simulacra.domain.base import MAX_INLINE_BYTES, invalid_argument
from simulacra.errors import InvalidArgument
from simulacra.wire._registry import FieldDescriptor, domain_class, message_class
from simulacra.wire.values import (
    enum_names,
    enum_numbers,
    struct_from_proto,
    struct_to_proto,
    timestamp_from_proto,
    timestamp_to_proto,
)

__all__ = ["field_from_proto", "from_proto", "to_proto"]

M = TypeVar("M", bound=Message)
T = TypeVar("T", bound=BaseModel)
Converter = Callable[[Any], Any]

_BYTES = 12  # FieldDescriptor.TYPE_BYTES


def to_proto(obj: BaseModel, cls: type[M] | None = None) -> M:
    """Returns the message of the same name with the same values.

    The class tells a type checker what comes out, where the context does not; if given, it is checked.

    Raises:
        InvalidArgument: If a file is too large to travel in a message.
        TypeError: If `obj` is not of the contract, or not a `cls`.
    """
    plan = _plan(type(obj))
    if cls is not None and plan.message is not cls:
        raise TypeError(f"{type(obj).__name__} is not a {cls.__name__}")
    message: M = plan.message(**plan.encode(obj))  # type: ignore[assignment]
    return message


def from_proto(message: Message, cls: type[T], *, prefix: str = "") -> T:
    """Returns the domain object of a message, checked; `prefix` leads the paths of violations.

    Raises:
        InvalidArgument: If a field is missing or wrong; the violations name each by its dotted path.
        TypeError: If the message is not that of `cls`.
    """
    plan = _plan(cls)
    if message.DESCRIPTOR is not plan.message.DESCRIPTOR:
        raise TypeError(f"a {message.DESCRIPTOR.name} is not a {cls.__name__}")
    try:
        return cls.model_validate(plan.decode(message), context="wire")
    except ValidationError as error:
        raise invalid_argument(error, prefix=prefix) from None


def field_from_proto(message: Message, field: FieldDescriptor, *, prefix: str = "") -> Any:
    """Returns one field as a domain value: an object, name, list, dict or scalar; None if it is absent.

    Raises:
        InvalidArgument: If its value is wrong.
    """
    present = message.HasField(field.name) if field.has_presence else True
    value = getattr(message, field.name) if present else None
    if value is None or (field.enum_type is not None and not field.is_repeated and value == 0):
        return None
    if field.message_type is not None and not field.is_repeated and (cls := domain_class(field.message_type)):
        return from_proto(value, cls, prefix=prefix)
    convert = _decoder(field)
    return value if convert is None else convert(value)


@dataclass(frozen=True, slots=True)
class _Plan:
    message: type[Message]
    encoders: tuple[tuple[str, Converter | None], ...]
    decoders: Mapping[int, tuple[str, Converter | None]]
    # What a message without presence leaves out: zeros, and the empty lists and maps of required fields.
    zeros: Mapping[str, Any]

    def encode(self, obj: BaseModel) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, convert in self.encoders:
            value = getattr(obj, name)
            if value is not None:
                values[name] = value if convert is None else convert(value)
        return values

    def decode(self, message: Message) -> Any:
        values = dict(self.zeros)
        decoders = self.decoders
        for field, value in message.ListFields():
            name, convert = decoders[field.number]
            values[name] = value if convert is None else convert(value)
        return values.get("root", values)


@cache
def _plan(cls: type[BaseModel]) -> _Plan:
    message = message_class(cls)
    fields = [field for field in message.DESCRIPTOR.fields if field.name in cls.model_fields]
    return _Plan(
        message=message,
        encoders=tuple((field.name, _encoder(field)) for field in fields),
        decoders={field.number: (field.name, _decoder(field)) for field in fields},
        zeros={
            field.name: zero
            for field in fields
            if (zero := _zero(field, required=cls.model_fields[field.name].is_required())) is not None
        },
    )


def _zero(field: FieldDescriptor, *, required: bool) -> Any:
    if field.is_repeated:
        # Shared by all results of the plan: pydantic copies what it validates.
        return ({} if _is_map(field) else []) if required else None
    if field.has_presence or field.enum_type is not None:
        return None
    return field.default_value


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _encoder(field: FieldDescriptor) -> Converter | None:
    if _is_map(field):
        return None
    convert = _single_encoder(field)
    if convert is None or not field.is_repeated:
        return convert
    return lambda values: [convert(value) for value in values]


def _single_encoder(field: FieldDescriptor) -> Converter | None:
    if field.enum_type is not None:
        return enum_numbers(field.enum_type).__getitem__
    if field.type == _BYTES:
        return _limited(field.name)
    if field.message_type is None:
        return None
    match field.message_type.full_name:
        case "google.protobuf.Timestamp":
            return timestamp_to_proto
        case "google.protobuf.Struct":
            return struct_to_proto
    cls = domain_class(field.message_type)
    if cls is None:
        raise TypeError(f"{field.full_name}: {field.message_type.name} has no domain class")
    plan = _plan(cls)
    # protobuf takes an empty dict for an absent message, which an object without values is not.
    return lambda obj: plan.encode(obj) or plan.message()


def _limited(name: str) -> Converter:
    def check(value: bytes) -> bytes:
        if len(value) > MAX_INLINE_BYTES:
            text = f"has {len(value):,} bytes, at most {MAX_INLINE_BYTES:,} fit; send it by UploadService"
            raise InvalidArgument.of(name, text)
        return value

    return check


def _decoder(field: FieldDescriptor) -> Converter | None:
    if _is_map(field):
        return dict
    convert = _single_decoder(field)
    if not field.is_repeated:
        return convert
    return list if convert is None else lambda values: [convert(value) for value in values]


def _single_decoder(field: FieldDescriptor) -> Converter | None:
    if field.enum_type is not None:
        names = enum_names(field.enum_type)
        # A number that this version does not know stays a number, which pydantic refuses by its path.
        return lambda number: names.get(number, number)
    if field.message_type is None:
        return None
    match field.message_type.full_name:
        case "google.protobuf.Timestamp":
            return _decode_timestamp
        case "google.protobuf.Struct":
            return struct_from_proto
    cls = domain_class(field.message_type)
    if cls is None:
        raise TypeError(f"{field.full_name}: {field.message_type.name} has no domain class")
    return _plan(cls).decode


def _decode_timestamp(message: Any) -> datetime | str:
    try:
        return timestamp_from_proto(message)
    except InvalidArgument as error:
        # Not a time: pydantic refuses it by its path.
        return error.message
