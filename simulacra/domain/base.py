"""What all domain classes are built of: the base class, the enumerations' base, and the types of fields."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, NoReturn, Self, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from simulacra.domain.text import CONTROL_CHARACTERS
from simulacra.errors import FieldViolation, InvalidArgument

__all__ = [
    "MAX_INLINE_BYTES",
    "Base64",
    "Count",
    "Enumeration",
    "Identifier",
    "Integer",
    "JsonObject",
    "Model",
    "Name",
    "Positive",
    "Share01",
    "Timestamp",
    "Violation",
    "invalid_argument",
    "require",
]

MAX_INLINE_BYTES = 1 << 20
"""The largest file, in bytes, that travels inside a message; larger ones go through UploadService."""

INT64_MAX = (1 << 63) - 1

Violation = tuple[str, str]
"""A wrong field: its dotted path below the object that is checked, and what is wrong and what to do."""


class Enumeration(StrEnum):
    """A set of names; a name is accepted in any case."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


class Model(BaseModel):
    """The base of the domain classes: fields are checked whenever they are set, and there are no others.

    For a field that has a default, None means the default, as do an empty list and an empty map.
    """

    model_config = ConfigDict(
        extra="forbid",
        validate_assignment=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        defer_build=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _put_defaults_for_what_is_empty(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        # Defaults are put in, not left to pydantic: when a field is set, `data` is all the object will hold.
        empty = [name for name, value in data.items() if _stands_for_default(cls, name, value)]
        return data | {name: cls.model_fields[name].default for name in empty} if empty else data

    def __setattr__(self, name: str, value: Any) -> None:
        if _stands_for_default(type(self), name, value):
            value = type(self).model_fields[name].default
        super().__setattr__(name, value)

    def updated(self, changes: Mapping[str, Any]) -> Self:
        """Returns a copy with other values at these dotted paths, None meaning the default.

        Raises:
            InvalidArgument: If the result would not be valid; the violations name the fields.
        """
        data = {name: getattr(self, name) for name in type(self).model_fields}
        for path, value in changes.items():
            _set_path(data, path, value)
        try:
            return type(self).model_validate(data)
        except ValidationError as error:
            raise invalid_argument(error, cls=type(self)) from None


def _stands_for_default(cls: type[BaseModel], name: str, value: Any) -> bool:
    if value is not None and not (isinstance(value, list | dict) and not value):
        return False
    field = cls.model_fields.get(name)
    if field is None or field.is_required():
        return False
    # An empty dict may also be an object without values, which is not the same as none.
    return value is None or any(
        get_origin(kind) in (list, dict) for kind in (field.annotation, *get_args(field.annotation))
    )


def _set_path(data: dict[str, Any], path: str, value: Any) -> None:
    head, _, rest = path.partition(".")
    if not rest:
        data[head] = value
        return
    inner = data.get(head)
    data[head] = dict(inner) if isinstance(inner, BaseModel | Mapping) else {}
    _set_path(data[head], rest, value)


def require(violations: Iterable[Violation]) -> None:
    """Raises an error that names these violations, inside a validator; does nothing if there are none."""
    found = list(violations)
    if found:
        _refuse(found)


def _refuse(violations: list[Violation]) -> NoReturn:
    text = "; ".join(f"{path}: {description}" if path else description for path, description in violations)
    # A template must not see the braces of user's text: it is given as the template's only variable.
    raise PydanticCustomError("violations", "{text}", {"text": text, "violations": violations})


def invalid_argument(
    error: ValidationError, *, prefix: str = "", cls: type[BaseModel] | None = None
) -> InvalidArgument:
    """Makes one InvalidArgument of pydantic's findings.

    Args:
        error: The findings.
        prefix: What the dotted paths are below.
        cls: The class that was to be made; the error can then name the field nearest to a wrong name.
    """
    violations = [
        FieldViolation(".".join(filter(None, [prefix, path])), description)
        for detail in error.errors(include_url=False)
        for path, description in _details(detail, cls)
    ]
    message = "; ".join(
        f"{item.field}: {item.description}" if item.field else item.description for item in violations
    )
    return InvalidArgument(message, violations=violations)


_SECRET = re.compile(r"\b(secrets|ssl|data|file|sample_seed_\w+)\b")


def _details(detail: Any, cls: type[BaseModel] | None) -> Iterable[Violation]:
    location = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "violations":
        for path, description in detail["ctx"]["violations"]:
            yield ".".join(filter(None, [location, path])), description
        return
    if detail["type"] == "missing":
        yield location, "is required"
        return
    if detail["type"] == "extra_forbidden":
        yield location, f"there is no such field{_instead(detail['loc'], cls)}"
        return
    description = detail["msg"].removeprefix("Value error, ")
    description = f"{description[:1].lower()}{description[1:]}"
    value = detail["input"]
    shown = isinstance(value, str | int | float) and not _SECRET.search(location)
    yield location, f"{description}; got {_short(value)}" if shown else description


def _instead(location: tuple[str | int, ...], cls: type[BaseModel] | None) -> str:
    """Says which field may have been meant by the last part of a path into a class."""
    *path, wrong = location
    for part in path:
        if cls is None:
            return ""
        if isinstance(part, str) and part in cls.model_fields:
            cls = _model_in(cls.model_fields[part].annotation)
    if cls is None:
        return ""
    near = get_close_matches(str(wrong), cls.model_fields, n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; there are {', '.join(cls.model_fields)}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Returns the class in an annotation such as `list[SourceTableConfig] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _printable(value: str) -> str:
    if found := CONTROL_CHARACTERS.search(value):
        raise ValueError(f"has the control character U+{ord(found[0]):04X}; take it out")
    return value


def _as_utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie in the years 1 to 9999 in UTC") from None


def _decode_base64(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be bytes, or text in base64") from None


def _within_message(value: bytes, info: ValidationInfo) -> bytes:
    if info.context == "wire" and len(value) > MAX_INLINE_BYTES:
        raise ValueError(
            f"has {len(value):,} bytes, at most {MAX_INLINE_BYTES:,} fit; send it by UploadService"
        )
    return value


Integer = Annotated[int, Field(ge=-INT64_MAX - 1, le=INT64_MAX)]
Count = Annotated[int, Field(ge=0, le=INT64_MAX)]
Positive = Annotated[int, Field(ge=1, le=INT64_MAX)]
Share01 = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)]
Identifier = Annotated[str, Field(min_length=1)]
Timestamp = Annotated[datetime, AfterValidator(_as_utc)]
JsonObject = dict[str, Any]
Base64 = Annotated[
    bytes,
    BeforeValidator(_decode_base64),
    AfterValidator(_within_message),
    PlainSerializer(lambda value: base64.b64encode(value).decode(), return_type=str, when_used="json"),
]
