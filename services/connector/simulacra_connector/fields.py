"""What describes a connector type: fields, conditions, ways to log in. `types.py` is their table."""

import re
from dataclasses import dataclass
from typing import Literal

from simulacra import domain
from simulacra.domain import ConnectorFieldContent as Content
from simulacra.domain import ConnectorType
from simulacra_connector.contents import checked_content

__all__ = ["Condition", "ConnectorField", "ConnectorTypeInfo", "Login", "Part"]

FieldType = Literal["string", "integer", "boolean", "base64", "enum"]
Part = Literal["config", "secrets", "ssl"]


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds where the field at a path, such as `config.sslEnabled`, has a value."""

    field: str
    value: bool

    @property
    def text(self) -> str:
        """The value as it is described."""
        return str(self.value).lower()


@dataclass(frozen=True, slots=True)
class Login:
    """One way to log in: paths of the fields that it needs, and of those that it may have besides.

    With a condition it is the way exactly where that holds; without, where its fields are given.
    """

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    only_if: Condition | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """All its paths."""
        return (*self.required, *self.optional)


@dataclass(frozen=True, slots=True)
class ConnectorField:
    """One field of a connector's config, secrets or ssl."""

    name: str
    description: str
    type: FieldType = "string"
    required: bool = True
    default: str | int | bool | None = None
    values: tuple[str, ...] = ()
    secret: bool = False
    pattern: str | None = None
    """What the whole of a string must match."""
    range: tuple[int, int] | None = None
    """The least and the largest integer."""
    content: Content | None = None
    """What a text or encoded file must hold."""
    only_if: Condition | None = None
    """Where the field has a meaning; elsewhere it is refused."""
    needs: tuple[str, ...] = ()
    """Paths of fields that must be given with this one."""

    def parse(self, value: object) -> str | int | bool:
        """Returns the value in the field's type; a Struct has made 5432 into 5432.0.

        Raises:
            ValueError: If it is not of the type, or holds something else than it must; the message says what
                is wrong, without the value of a secret.
        """
        parsed = self._of_type(value)
        if isinstance(parsed, str):
            return self._checked(parsed)
        if self.range is not None and not self.range[0] <= parsed <= self.range[1]:
            raise ValueError(f"{parsed} is out of range; give {self.range[0]} to {self.range[1]}")
        return parsed

    def _of_type(self, value: object) -> str | int | bool:
        match self.type, value:
            case "boolean", bool():
                return value
            case "integer", int() | float() if not isinstance(value, bool) and float(value).is_integer():
                return int(value)
            case "integer", str() if value.isdecimal():
                return int(value)
            case "enum", str() if value in self.values:
                return value
            case "enum", _:
                raise ValueError(f"{value!r} is none of {', '.join(self.values)}")
            case "string" | "base64", str():
                return value
        raise ValueError(f"expected {self.type}, got {type(value).__name__}")

    def _checked(self, text: str) -> str:
        if "\0" in text:
            raise ValueError("has a zero character in it")
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            what = "it" if self.secret else repr(text)
            raise ValueError(f"{what} does not match {self.pattern}; give the {_beginning(self.description)}")
        return text if self.content is None else checked_content(self.content, text)

    def described(self) -> domain.ConnectorField:
        """Returns what a client is told."""
        default = None if self.default is None else str(self.default)
        return domain.ConnectorField(
            name=self.name,
            type=domain.ConnectorFieldType(self.type),
            required=self.required,
            default_value=default.lower() if default and self.type == "boolean" else default,
            allowed_values=list(self.values),
            description=self.description,
            secret=self.secret,
            only_if=_described(self.only_if),
            needs=list(self.needs),
            pattern=self.pattern,
            minimum=self.range and self.range[0],
            maximum=self.range and self.range[1],
            content=self.content,
        )


@dataclass(frozen=True, slots=True)
class ConnectorTypeInfo:
    """One connector type; `driver` is `module:class`, None while this version has none."""

    type: ConnectorType
    display_name: str
    location_format: str
    config: tuple[ConnectorField, ...] = ()
    secrets: tuple[ConnectorField, ...] = ()
    ssl: tuple[ConnectorField, ...] = ()
    logins: tuple[Login, ...] = ()
    """The ways to log in, where there are several."""
    driver: str | None = None
    extra: str | None = None
    """The extra of the distribution that brings the driver's packages."""
    creatable: bool = True
    """Whether CreateConnector makes it; a FILE_UPLOAD is made by an upload."""

    def part(self, part: Part) -> tuple[ConnectorField, ...]:
        """Returns the fields of one part."""
        return {"config": self.config, "secrets": self.secrets, "ssl": self.ssl}[part]

    def described(self, *, available: bool) -> domain.ConnectorTypeDescription:
        """Returns what a client is told, so that it can draw a form."""
        return domain.ConnectorTypeDescription(
            type=self.type,
            display_name=self.display_name,
            location_format=self.location_format,
            config=[field.described() for field in self.config],
            secrets=[field.described() for field in self.secrets],
            ssl=[field.described() for field in self.ssl],
            available=available,
            extra=self.extra,
            logins=[
                domain.ConnectorLogin(
                    display_name=login.name,
                    required_fields=list(login.required),
                    optional_fields=list(login.optional),
                    only_if=_described(login.only_if),
                )
                for login in self.logins
            ],
        )


def _beginning(sentence: str) -> str:
    """Returns a sentence as the end of another."""
    return sentence[0].lower() + sentence[1:].rstrip(".") if sentence[1].islower() else sentence.rstrip(".")


def _described(condition: Condition | None) -> domain.ConnectorFieldCondition | None:
    if condition is None:
        return None
    return domain.ConnectorFieldCondition(field=condition.field, value=condition.text)
