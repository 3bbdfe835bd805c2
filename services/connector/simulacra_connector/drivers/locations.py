"""The locations of databases, `schema.table`: names as they are, quoted only around dots and quotes."""

import re

from simulacra_connector.drivers.base import location_not_found

__all__ = ["format_location", "split_location", "table_location"]

_PLAIN_NAME = re.compile(r'[^."]+')
_LOCATION = re.compile(r'("(?:[^"]|"")+"|[^."]+)(?:\.("(?:[^"]|"")+"|[^"]+))?')


def format_location(schema: str, table: str) -> str:
    """Returns `schema.table`, quoted where a name has a dot or a quote in it."""
    return ".".join(part if _PLAIN_NAME.fullmatch(part) else _quoted(part) for part in (schema, table))


def split_location(location: str) -> tuple[str, str | None]:
    """Returns schema and table; the table is None when only a schema is given.

    Raises:
        LocationNotFound: If it is neither.
    """
    match = _LOCATION.fullmatch(location)
    if match is None:
        raise location_not_found(location, "the format is schema.table")
    schema, table = (
        part[1:-1].replace('""', '"') if part is not None and part.startswith('"') else part
        for part in match.groups()
    )
    return schema or "", table


def table_location(location: str) -> tuple[str, str]:
    """Returns schema and table.

    Raises:
        LocationNotFound: If there is no table in it.
    """
    schema, table = split_location(location)
    if table is None:
        raise location_not_found(location, "the format is schema.table")
    return schema, table


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
