"""The services' own database: transactions, revisions, migrations, and the tables that every service has.

SQLite (WAL) and Postgres behave the same here: writers take turns, and a row's revision becomes visible in
order.
"""

from simulacra.store.database import Database, Transaction, UtcDateTime
from simulacra.store.paging import BY_REVISION, NEWEST_FIRST, Page, decode_token, encode_token, page
from simulacra.store.references import add_reference, references_to, remove_reference, require_unused
from simulacra.store.requests import body_hash, forget_old_requests, idempotent, remember
from simulacra.store.resources import Resources, Viewer, contains, resource_table, visible_to

__all__ = [
    "BY_REVISION",
    "NEWEST_FIRST",
    "Database",
    "Page",
    "Resources",
    "Transaction",
    "UtcDateTime",
    "Viewer",
    "add_reference",
    "body_hash",
    "contains",
    "decode_token",
    "encode_token",
    "forget_old_requests",
    "idempotent",
    "page",
    "references_to",
    "remember",
    "remove_reference",
    "require_unused",
    "resource_table",
    "visible_to",
]
