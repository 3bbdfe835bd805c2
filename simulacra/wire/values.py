"""Single values: times, JSON objects and enumerations, between Python and protobuf."""

import base64
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from simulacra.errors import InvalidArgument
from simulacra.wire._registry import EnumDescriptor, enum_descriptor

__all__ = [
    "enum_from_proto",
    "enum_names",
    "enum_numbers",
    "enum_to_proto",
    "struct_from_proto",
    "struct_to_proto",
    "timestamp_from_proto",
    "timestamp_to_proto",
]

E = TypeVar("E", bound=StrEnum)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Beyond this, a double does not hold every integer.
_EXACT = 1 << 53


def timestamp_to_proto(value: datetime) -> Timestamp:
    """Returns the time as a message; one without a zone is taken as UTC."""
    elapsed = (value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH
    return Timestamp(seconds=elapsed.days * 86_400 + elapsed.seconds, nanos=elapsed.microseconds * 1_000)


def timestamp_from_proto(message: Timestamp) -> datetime:
    """Returns the time in UTC, to the microsecond.

    Raises:
        InvalidArgument: If it lies outside the years 1 to 9999.
    """
    try:
        return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1_000)
    except OverflowError:
        raise InvalidArgument(
            f"the time {message.seconds} s after 1970 is not in the years 1 to 9999"
        ) from None


def struct_to_proto(value: Mapping[str, Any]) -> Struct:
    """Returns a JSON-like object as a message.

    JSON knows only text, numbers, booleans, null, lists and objects: integers beyond 2^53, decimals, dates
    and times become text, bytes base64, NaN null, and infinities the text `Infinity` or `-Infinity`.
    """
    message = Struct()
    message.update(_plain(value))
    return message


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return value if -_EXACT <= value <= _EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _plain_infinite(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def _plain_infinite(value: float) -> str | None:
    if math.isnan(value):
        return None
    return "Infinity" if value > 0 else "-Infinity"


def struct_from_proto(message: Struct) -> dict[str, Any]:
    """Returns a JSON-like object; whole numbers up to 2^53 are integers: JSON has one type of number."""
    return {key: _value(item) for key, item in message.fields.items()}


def _value(message: Value) -> Any:
    match message.WhichOneof("kind"):
        case "string_value":
            return message.string_value
        case "number_value":
            number = message.number_value
            return int(number) if number.is_integer() and abs(number) <= _EXACT else number
        case "bool_value":
            return message.bool_value
        case "struct_value":
            return struct_from_proto(message.struct_value)
        case "list_value":
            return _list(message.list_value)
        case _:
            return None


def _list(message: ListValue) -> list[Any]:
    return [_value(item) for item in message.values]


@cache
def enum_numbers(descriptor: EnumDescriptor) -> dict[str, int]:
    """Returns the number of each name without the enum's prefix, but for the unspecified zero."""
    prefix = descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.name.removeprefix(prefix): value.number for value in descriptor.values if value.number}


@cache
def enum_names(descriptor: EnumDescriptor) -> dict[int, str]:
    """Returns the name without the enum's prefix of each number but zero."""
    return {number: name for name, number in enum_numbers(descriptor).items()}


def enum_to_proto(member: StrEnum | None) -> Any:
    """Returns the number of a member of a domain enumeration; None gives zero, which is unspecified."""
    return 0 if member is None else enum_numbers(enum_descriptor(type(member)))[member.value]


def enum_from_proto(number: int, cls: type[E]) -> E | None:
    """Returns the member of a domain enumeration; None for zero, which is unspecified.

    Raises:
        InvalidArgument: If there is no such number.
    """
    if number == 0:
        return None
    name = enum_names(enum_descriptor(cls)).get(number)
    if name is None:
        raise InvalidArgument(f"{number} is not a number of {cls.__name__}; send one of {', '.join(cls)}")
    return cls(name)
