"""What belongs to PostgreSQL tables besides their rows, and comes back when they are replaced."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulacra.errors import AlreadyExists
from simulacra_connector.drivers.locations import format_location
from simulacra_connector.drivers.postgres.catalog import quote

__all__ = ["Replaced", "replaced_tables"]

Fetch = Callable[..., Sequence[tuple[Any, ...]]]

_KINDS = {
    "p": "a partitioned table",
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "c": "a type",
}
# What would be lost with the old table, or keeps it from being dropped.
_IN_THE_WAY = [
    ("SELECT 1 FROM pg_class WHERE oid = %s AND relrowsecurity", "has row-level security"),
    (
        "SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = %s",
        "is a partition or child of {}",
    ),
    ("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s", "is the parent of {}"),
    (
        "SELECT v.oid::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid "
        "JOIN pg_class v ON v.oid = r.ev_class WHERE d.classid = 'pg_rewrite'::regclass "
        "AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %s AND v.oid <> d.refobjid",
        "is what view {} reads",
    ),
    ("SELECT rulename FROM pg_rewrite WHERE ev_class = %s", "has rule {}"),
    (
        "SELECT p.pubname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid "
        "WHERE r.prrelid = %s",
        "is in publication {}",
    ),
]


@dataclass(frozen=True, slots=True)
class Replaced:
    """A table that is replaced: its columns, and the statements that make again what belongs to it."""

    oid: int
    target: str
    columns: tuple[str, ...]
    generated: frozenset[str] = frozenset()
    """The columns whose values PostgreSQL computes, and nobody may give."""
    tablespace: str | None = None
    unlogged: bool = False
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
        "SELECT c.relname, c.oid, c.relkind::text, array_agg(a.attname::text), "
        "array_agg(a.attname::text) FILTER (WHERE a.attgenerated <> ''), spcname::text, relpersistence = 'u' "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace "
        "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "WHERE n.nspname = %s AND c.relname = ANY(%s) GROUP BY 1, 2, 3, 6, 7",
        schema,
        list(names),
    )
    tables: dict[str, Replaced] = {}
    for name, oid, kind, columns, generated, tablespace, unlogged in found:
        place = format_location(schema, name)
        if kind != "r" and not (appending and kind == "p"):
            raise AlreadyExists(
                f"{place} is no plain table but {_KINDS.get(kind, 'another object')}; choose another location"
                + (", or add to the table instead" if kind == "p" else ""),
                location=place,
            )
        if not appending:
            _require_replaceable(fetch, place, oid)
        tables[name] = Replaced(
            oid,
            f"{quote(schema)}.{quote(name)}",
            tuple(name for name in columns if name is not None),
            frozenset(generated or ()),
            tablespace,
            unlogged,
        )
    if appending:
        return tables
    oids = [table.oid for table in tables.values()]
    for table in tables.values():
        _keep_constraints(fetch, table)
        _keep_foreign_keys_of_others(fetch, table, oids)
        _keep_sequences(fetch, table)
        _keep_triggers(fetch, table)
        _keep_storage(fetch, table)
        _keep_owner_and_grants(fetch, table)
    return tables


def _require_replaceable(fetch: Fetch, place: str, oid: int) -> None:
    for sql, words in _IN_THE_WAY:
        if found := fetch(sql, oid):
            raise AlreadyExists(
                f"{place} cannot be replaced, for it {words.format(found[0][0])}; "
                "choose another location, or add to the table instead",
                location=place,
            )


def _keep_constraints(fetch: Fetch, table: Replaced) -> None:
    constraints = fetch(
        "SELECT contype::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s AND contype IN ('p', 'u', 'c', 'x', 'f') AND conparentid = 0 "
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


def _keep_storage(fetch: Fetch, table: Replaced) -> None:
    """Keeps how rows are stored and replicated, and what the planner is asked to count."""
    [(options, identity)] = fetch(
        "SELECT array_to_string(reloptions, ', '), relreplident::text FROM pg_class WHERE oid = %s", table.oid
    )
    changes = [f"SET ({options})"] if options else []
    if identity in ("f", "n"):
        changes.append(f"REPLICA IDENTITY {'FULL' if identity == 'f' else 'NOTHING'}")
    table.rest.extend(f"ALTER TABLE {table.target} {change}" for change in changes)
    indexes = fetch(
        "SELECT relname, indisclustered, indisreplident FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
        "WHERE indrelid = %s AND (indisclustered OR indisreplident)",
        table.oid,
    )
    for name, clustered, identifies in indexes:
        if clustered:
            table.rest.append(f"ALTER TABLE {table.target} CLUSTER ON {quote(name)}")
        if identifies:
            table.rest.append(f"ALTER TABLE {table.target} REPLICA IDENTITY USING INDEX {quote(name)}")
    statistics = fetch(
        "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = %s", table.oid
    )
    table.rest.extend(sql for (sql,) in statistics)


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
    of_columns = fetch(
        "SELECT a.privilege_type, c.attname, coalesce(quote_ident(r.rolname), 'PUBLIC'), a.is_grantable "
        "FROM pg_attribute c, aclexplode(c.attacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee "
        "WHERE c.attrelid = %s AND NOT c.attisdropped",
        table.oid,
    )
    for privilege, column, grantee, grantable in of_columns:
        option = " WITH GRANT OPTION" if grantable else ""
        table.rest.append(f"GRANT {privilege} ({quote(column)}) ON {table.target} TO {grantee}{option}")
    [(comment, owner)] = fetch(
        "SELECT obj_description(oid, 'pg_class'), quote_ident(pg_get_userbyid(relowner)) "
        "FROM pg_class WHERE oid = %s",
        table.oid,
    )
    if comment is not None:
        literal = comment.replace("'", "''")
        table.rest.append(f"COMMENT ON TABLE {table.target} IS '{literal}'")
    table.rest.append(f"ALTER TABLE {table.target} OWNER TO {owner}")
