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
    let_go: list[str] = field(default_factory=list)
    """Foreign keys of tables that stay, and sequences that must not be dropped with the table."""
    constraints: list[str] = field(default_factory=list)
    foreign_keys: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)


def replaced_tables(
    fetch: Fetch, schema: str, names: Sequence[str], *, appending: bool = False
) -> dict[str, Replaced]:
    """Describes those of some tables that are there; when rows are only added, all of it stays anyway.

    Raises:
        AlreadyExists: If one of them is no plain table, or has what cannot be made again.
    """
    found = fetch(
        "SELECT c.relname, c.oid, c.relkind::text, (SELECT array_agg(attname::text) FROM pg_attribute a "
        "WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped), c.relrowsecurity "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = ANY(%s)",
        schema,
        list(names),
    )
    tables: dict[str, Replaced] = {}
    for name, oid, kind, columns, has_policies in found:
        target = f"{quote(schema)}.{quote(name)}"
        if kind != "r":
            raise AlreadyExists(f"{schema}.{name} is no plain table; choose another location")
        if has_policies and not appending:
            raise AlreadyExists(
                f"{schema}.{name} has row-level security, which a replaced table would lose; "
                "choose another location, or add to the table instead"
            )
        tables[name] = Replaced(oid, target, tuple(columns or ()))
    oids = [table.oid for table in tables.values()]
    for table in tables.values():
        _keep_constraints(fetch, table)
        _keep_foreign_keys_of_others(fetch, table, oids)
        _keep_sequences(fetch, table)
        _keep_triggers(fetch, table)
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
        table.let_go.append(f"ALTER TABLE {other} DROP CONSTRAINT {quote(name)}")
        table.foreign_keys.append(f"ALTER TABLE {other} ADD CONSTRAINT {quote(name)} {definition}")


def _keep_sequences(fetch: Fetch, table: Replaced) -> None:
    """Lets sequences go on after the largest new value; those of serial columns outlive the old table."""
    found = fetch(
        "SELECT a.attname, d.objid::regclass::text, d.deptype = 'i' "
        "FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' "
        "JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid "
        "WHERE d.classid = 'pg_class'::regclass AND d.refobjid = %s AND d.deptype IN ('a', 'i')",
        table.oid,
    )
    for column, sequence, is_identity in found:
        if not is_identity:
            table.let_go.append(f"ALTER SEQUENCE {sequence} OWNED BY NONE")
            table.rest.append(f"ALTER SEQUENCE {sequence} OWNED BY {table.target}.{quote(column)}")
        target, name = (text.replace("'", "''") for text in (table.target, column))
        table.rest.append(
            f"SELECT setval(pg_get_serial_sequence('{target}', '{name}'), coalesce(max({quote(column)}), 1), "
            f"max({quote(column)}) IS NOT NULL) FROM {table.target}"
        )


def _keep_triggers(fetch: Fetch, table: Replaced) -> None:
    triggers = fetch(
        "SELECT tgname, pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger "
        "WHERE tgrelid = %s AND NOT tgisinternal ORDER BY tgname",
        table.oid,
    )
    states = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
    for name, definition, enabled in triggers:
        table.rest.append(definition)
        if enabled in states:
            table.rest.append(f"ALTER TABLE {table.target} {states[enabled]} TRIGGER {quote(name)}")


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
