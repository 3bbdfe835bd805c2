"""What belongs to PostgreSQL tables besides their rows, and comes back when they are replaced."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulacra.errors import AlreadyExists
from simulacra_connector.drivers.postgres.catalog import quote

__all__ = ["Replaced", "replaced_tables"]

Fetch = Callable[..., Sequence[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Replaced:
    """A table that is replaced: its columns, and the statements that make again what belongs to it."""

    oid: int
    target: str
    columns: tuple[str, ...]
    drop_keys: list[str] = field(default_factory=list)
    """Foreign keys of tables that stay."""
    constraints: list[str] = field(default_factory=list)
    foreign_keys: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)


def replaced_tables(fetch: Fetch, schema: str, names: Sequence[str]) -> dict[str, Replaced]:
    """Describes those of some tables that are there.

    Raises:
        AlreadyExists: If one of them is a view or another thing that is no plain table.
    """
    found = fetch(
        "SELECT c.relname, c.oid, c.relkind::text, (SELECT array_agg(attname::text) FROM pg_attribute a "
        "WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped) "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = ANY(%s)",
        schema,
        list(names),
    )
    tables: dict[str, Replaced] = {}
    for name, oid, kind, columns in found:
        target = f"{quote(schema)}.{quote(name)}"
        if kind != "r":
            raise AlreadyExists(f"{schema}.{name} is no plain table; choose another location")
        tables[name] = Replaced(oid, target, tuple(columns or ()))
    oids = [table.oid for table in tables.values()]
    for table in tables.values():
        _keep_constraints(fetch, table)
        _keep_foreign_keys_of_others(fetch, table, oids)
        _keep_owner_and_grants(fetch, table)
    return tables


def _keep_constraints(fetch: Fetch, table: Replaced) -> None:
    constraints = fetch(
        "SELECT contype::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s AND contype IN ('p', 'u', 'c', 'x', 'f') "
        "ORDER BY array_position(ARRAY['p', 'u', 'c', 'x', 'f'], contype::text), conname",
        table.oid,
    )
    for kind, name, definition in constraints:
        kept = table.foreign_keys if kind == "f" else table.constraints
        kept.append(f"ALTER TABLE {table.target} ADD CONSTRAINT {quote(name)} {definition}")
    indexes = fetch(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index i WHERE indrelid = %s AND NOT EXISTS "
        "(SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid)",
        table.oid,
    )
    table.constraints.extend(sql for (sql,) in indexes)


def _keep_foreign_keys_of_others(fetch: Fetch, table: Replaced, replaced: Sequence[int]) -> None:
    keys = fetch(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE contype = 'f' AND confrelid = %s AND conrelid <> ALL(%s) AND conparentid = 0",
        table.oid,
        list(replaced),
    )
    for other, name, definition in keys:
        table.drop_keys.append(f"ALTER TABLE {other} DROP CONSTRAINT {quote(name)}")
        table.foreign_keys.append(f"ALTER TABLE {other} ADD CONSTRAINT {quote(name)} {definition}")


def _keep_owner_and_grants(fetch: Fetch, table: Replaced) -> None:
    grants = fetch(
        "SELECT a.privilege_type, coalesce(quote_ident(r.rolname), 'PUBLIC'), a.is_grantable "
        "FROM pg_class c, aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee "
        "WHERE c.oid = %s AND a.grantee <> c.relowner",
        table.oid,
    )
    for privilege, grantee, grantable in grants:
        option = " WITH GRANT OPTION" if grantable else ""
        table.rest.append(f"GRANT {privilege} ON {table.target} TO {grantee}{option}")
    [(comment, owner)] = fetch(
        "SELECT obj_description(oid, 'pg_class'), quote_ident(pg_get_userbyid(relowner)) "
        "FROM pg_class WHERE oid = %s",
        table.oid,
    )
    if comment is not None:
        literal = comment.replace("'", "''")
        table.rest.append(f"COMMENT ON TABLE {table.target} IS '{literal}'")
    table.rest.append(f"ALTER TABLE {table.target} OWNER TO {owner}")
