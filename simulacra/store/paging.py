"""Pages of rows by keyset, newest first: each costs the same, and none skips or repeats a row."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from simulacra.errors import InvalidArgument, ResumeTokenInvalid
from simulacra.store.types import UtcDateTime

__all__ = ["Page", "decode_token", "encode_token", "page"]

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, the token of the next page (empty on the last), and how many rows all pages have."""

    rows: Sequence[sa.RowMapping]
    next_page_token: str
    total_count: int


def encode_token(*parts: Any) -> str:
    """Makes an opaque token of JSON values."""
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_token(token: str, *types: type) -> list[Any]:
    """Returns the values in a token of `encode_token`.

    Raises:
        ResumeTokenInvalid: The token is not one of ours, or its values are not of `types`.
    """
    try:
        parts = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        parts = None
    if (
        not isinstance(parts, list)
        or len(parts) != len(types)
        or not all(isinstance(part, type_) for part, type_ in zip(parts, types, strict=True))
    ):
        raise _not_ours(token)
    return parts


@dataclass(frozen=True, slots=True)
class Order:
    """By which columns pages are ordered; the last one is unique."""

    columns: tuple[str, ...]
    descending: bool


NEWEST_FIRST = Order(("created_at", "id"), descending=True)
BY_REVISION = Order(("revision",), descending=False)


async def page(
    connection: AsyncConnection,
    table: sa.Table,
    *,
    where: Sequence[sa.ColumnElement[bool]] = (),
    order: Order = NEWEST_FIRST,
    page_size: int = 0,
    page_token: str = "",
) -> Page:
    """Reads one page of a table.

    Args:
        connection: From `Database.read()`.
        table: The table.
        where: Which rows; all conditions must hold.
        order: Their order; an index must have these columns.
        page_size: At most this many rows; 0 means 50, and no page has more than 1,000.
        page_token: `next_page_token` of the page before; empty for the first.

    Raises:
        InvalidArgument: `page_size` is negative.
        ResumeTokenInvalid: `page_token` was not made by this function.
    """
    if page_size < 0:
        raise InvalidArgument.of("page_size", f"must be 0 or more, got {page_size}")
    size = min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    columns = [table.c[name] for name in order.columns]
    direction = (column.desc() if order.descending else column.asc() for column in columns)
    statement = sa.select(table).where(*where).order_by(*direction).limit(size + 1)
    if page_token:
        key, last = sa.tuple_(*columns), _last_key(page_token, columns)
        statement = statement.where(key < last if order.descending else key > last)
    rows = (await connection.execute(statement)).mappings().all()
    total = await connection.execute(sa.select(sa.func.count()).select_from(table).where(*where))
    next_token = ""
    if len(rows) > size:
        rows = rows[:size]
        next_token = encode_token(*(_plain(rows[-1][name]) for name in order.columns))
    return Page(rows, next_token, int(total.scalar_one()))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _last_key(token: str, columns: Sequence[sa.Column[Any]]) -> Any:
    is_time = [isinstance(column.type, UtcDateTime) for column in columns]
    types = [str if time else column.type.python_type for column, time in zip(columns, is_time, strict=True)]
    values = decode_token(token, *types)
    try:
        values = [
            datetime.fromisoformat(value) if time else value
            for value, time in zip(values, is_time, strict=True)
        ]
    except ValueError as error:
        raise _not_ours(token) from error
    if any(time and value.tzinfo is None for value, time in zip(values, is_time, strict=True)):
        raise _not_ours(token)
    return sa.tuple_(*(sa.literal(value, column.type) for value, column in zip(values, columns, strict=True)))


def _not_ours(token: str) -> ResumeTokenInvalid:
    shown = token if len(token) <= 80 else f"{token[:77]}..."
    return ResumeTokenInvalid(
        f"{shown!r} is not a token that this platform made; start without one", token=shown
    )
