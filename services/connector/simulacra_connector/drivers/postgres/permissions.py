"""What PostgreSQL lets a user do, asked before anything is written."""

from collections.abc import Mapping, Sequence

from simulacra.errors import PermissionDenied
from simulacra_connector.drivers.base import WriteMode
from simulacra_connector.drivers.locations import format_location
from simulacra_connector.drivers.postgres.replacing import Fetch, Replaced

__all__ = ["require_permissions"]

_NOT_OWNED = (
    "SELECT c.oid::regclass::text FROM pg_class c WHERE NOT pg_has_role(c.relowner, 'USAGE') AND (c.oid = %s "
    "OR c.oid IN (SELECT conrelid FROM pg_constraint WHERE contype = 'f' AND confrelid = %s))"
)
_NOT_INSERTABLE = (
    "SELECT c.oid FROM pg_class c WHERE oid = %s AND NOT has_any_column_privilege(oid, 'INSERT')"
)


def require_permissions(
    fetch: Fetch, schema: str, names: Sequence[str], there: Mapping[str, Replaced], mode: WriteMode
) -> None:
    """Raises PermissionDenied unless the user may make, replace or fill these tables."""
    [(user, read_only, may_create)] = fetch(
        "SELECT current_user, current_setting('transaction_read_only') = 'on', "
        "has_schema_privilege(%s, 'CREATE')",
        schema,
    )
    if read_only:
        raise PermissionDenied(
            f"nothing can be written to {schema}: the server only reads, for it is a standby or set so; "
            "give the primary server",
            location=schema,
        )
    if not may_create and (mode is not WriteMode.APPEND or set(names) - set(there)):
        raise PermissionDenied(
            f"user {user!r} may not make tables in schema {schema}; "
            "grant CREATE on the schema, or give another location",
            location=schema,
        )
    for name, table in there.items():
        place = format_location(schema, name)
        if mode is WriteMode.APPEND and fetch(_NOT_INSERTABLE, table.oid):
            raise PermissionDenied(
                f"user {user!r} may not add rows to {place}; grant INSERT on the table, "
                "or give another location",
                location=place,
            )
        if mode is WriteMode.OVERWRITE and (other := fetch(_NOT_OWNED, table.oid, table.oid)):
            raise PermissionDenied(
                f"user {user!r} does not own {other[0][0]}, as one must to replace {place}; "
                "connect as the owner, add to the table instead, or give another location",
                location=place,
            )
