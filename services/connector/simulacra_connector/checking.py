"""Checks what a client gives for a connector against its type's description; each fault names its field."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from simulacra.errors import FieldViolation, InvalidArgument
from simulacra_connector.contents import require_pair
from simulacra_connector.fields import Condition, ConnectorTypeInfo, Login, Part

__all__ = ["checked_parts"]

_PARTS: tuple[Part, ...] = ("config", "secrets", "ssl")
_CERTIFICATE, _KEY = "ssl.sslCertificate", "ssl.sslCertificateKey"

Values = Mapping[str, Any]
"""What is given, by the paths of fields, such as `config.host`."""


def checked_parts(
    info: ConnectorTypeInfo, given: Mapping[Part, Mapping[str, Any]]
) -> dict[Part, dict[str, Any]]:
    """Returns config, secrets and ssl in their fields' types, with defaults.

    Raises:
        InvalidArgument: If a field is unknown, missing, wrong, or has no meaning beside the others; its
            violations name each.
    """
    violations: list[FieldViolation] = []
    checked = {part: _checked_part(info, part, given[part], violations) for part in _PARTS}
    values = {f"{part}.{name}": value for part in _PARTS for name, value in checked[part].items()}
    wrong = {violation.field for violation in violations}
    found = (*_misplaced(info, values, wrong), *_lonely(info, values), *_login_faults(info, values))
    violations += [violation for violation in found if violation.field not in wrong]
    if violations:
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        raise InvalidArgument(
            f"the {info.type} connector cannot be made as it is given: {text}", violations=violations
        )
    return checked


def _checked_part(
    info: ConnectorTypeInfo, part: Part, given: Mapping[str, Any], violations: list[FieldViolation]
) -> dict[str, Any]:
    fields = {field.name: field for field in info.part(part)}
    for name in given.keys() - fields.keys():
        close = get_close_matches(name, fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join(fields) or 'none'}"
        violations.append(FieldViolation(f"{part}.{name}", f"{info.type} has no such field; {hint}"))
    checked: dict[str, Any] = {}
    for name, field in fields.items():
        value = given.get(name)
        if value is None or (value == "" and name != "password"):
            if field.required:
                violations.append(FieldViolation(f"{part}.{name}", "is required"))
            elif field.default is not None:
                checked[name] = field.default
            continue
        try:
            checked[name] = field.parse(value)
        except ValueError as error:
            violations.append(FieldViolation(f"{part}.{name}", str(error)))
    return checked


def _misplaced(info: ConnectorTypeInfo, values: Values, wrong: Collection[str]) -> Iterator[FieldViolation]:
    """Finds fields that would be passed over in silence."""
    for part in _PARTS:
        for field in info.part(part):
            condition, path = field.only_if, f"{part}.{field.name}"
            if condition is None or condition.field in wrong or _holds(condition, values):
                continue
            if _is_given(values, path):
                other = str(not condition.value).lower()
                yield FieldViolation(
                    path,
                    f"has no effect while {condition.field} is {other}; leave it out, or set "
                    f"{condition.field} to {condition.text}",
                )


def _lonely(info: ConnectorTypeInfo, values: Values) -> Iterator[FieldViolation]:
    """Finds fields that lack what they need, or do not fit it."""
    for part in _PARTS:
        for field in info.part(part):
            path = f"{part}.{field.name}"
            for other in field.needs if _is_given(values, path) else ():
                if not _is_given(values, other):
                    yield FieldViolation(other, f"is required with {path}")
    if _is_given(values, _CERTIFICATE) and _is_given(values, _KEY):
        try:
            require_pair(values[_CERTIFICATE], values[_KEY])
        except ValueError as error:
            yield FieldViolation(_KEY, str(error))


def _login_faults(info: ConnectorTypeInfo, values: Values) -> Iterator[FieldViolation]:
    """Finds what the way to log in lacks; which one it is, conditions say, or else the fields given."""
    decided = [login for login in info.logins if login.only_if]
    for login in decided:
        assert login.only_if is not None
        if _holds(login.only_if, values):
            yield from _missing(login, values, f"as {login.only_if.field} is {login.only_if.text}")
    open_ways = [login for login in info.logins if not login.only_if]
    if not open_ways:
        return
    begun = [login for login in open_ways if any(_is_given(values, path) for path in login.fields)]
    if not begun:
        ways = ", or ".join(f"{' and '.join(login.required)} ({login.name})" for login in open_ways)
        yield FieldViolation("config", f"there is nothing to log in with; give {ways}")
    elif len(begun) == 1:
        others = " or ".join(login.name for login in open_ways if login is not begun[0])
        yield from _missing(begun[0], values, f"to log in by {begun[0].name}; or log in by {others} instead")
    else:
        names = " and ".join(login.name for login in begun)
        for path in begun[-1].fields:
            if _is_given(values, path):
                yield FieldViolation(path, f"there are fields for {names}; give those for one way to log in")


def _missing(login: Login, values: Values, why: str) -> Iterator[FieldViolation]:
    for path in login.required:
        if not _is_given(values, path):
            yield FieldViolation(path, f"is required {why}")


def _is_given(values: Values, path: str) -> bool:
    return values.get(path) not in (None, "")


def _holds(condition: Condition, values: Values) -> bool:
    return bool(values.get(condition.field)) is condition.value
