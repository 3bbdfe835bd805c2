"""Writes tables into Oracle: changes of tables commit at once there, changes of rows are one transaction."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, cast

from simulacra.errors import InvalidArgument
from simulacra_connector.drivers.base import TableStream, WriteMode
from simulacra_connector.drivers.locations import format_location
from simulacra_connector.drivers.oracle.link import OracleLink
from simulacra_connector.drivers.sql import Staged, TableWriter, python_rows

__all__ = ["OracleWriter"]

_REFERENCES = (
    "SELECT c.owner, c.table_name, c.constraint_name FROM all_constraints c "
    "JOIN all_constraints p ON p.owner = c.r_owner AND p.constraint_name = c.r_constraint_name "
    "WHERE c.constraint_type = 'R' AND c.status = 'ENABLED' AND p.owner = :1 AND p.table_name = :2 "
    "AND NOT (c.owner = p.owner AND c.table_name = p.table_name) "
    "AND (c.deferrable = 'NOT DEFERRABLE' OR c.delete_rule <> 'NO ACTION')"
)
_INSERT_ROWS = 8192


class OracleWriter(TableWriter):
    """Fills staging tables by direct-path array inserts, which are committed one by one."""

    insert_rows: ClassVar[int] = _INSERT_ROWS

    @contextmanager
    def changing_rows(self) -> Iterator[None]:
        """Defers what can be deferred, for tables that refer to each other."""
        link = cast("OracleLink", self.link)
        link.commits(False)
        try:
            link.execute("SET CONSTRAINTS ALL DEFERRED")
            yield
            link.end(keep=True)
        except BaseException:
            link.end(keep=False)
            raise
        finally:
            link.commits(True)

    def load(self, staged: Staged, stream: TableStream) -> Iterator[int]:
        """Binds arrays of rows."""
        marks = ", ".join(f":{position}" for position in range(1, len(staged.columns) + 1))
        names = self.dialect.names(staged.columns)
        sql = f"INSERT /*+ APPEND_VALUES */ INTO {self.place(staged)} ({names}) VALUES ({marks})"
        count = 0
        for batch in stream.batches:
            records: list[tuple[Any, ...]] = python_rows(batch, database=self.dialect.name, not_a_number=True)
            for start in range(0, len(records), self.insert_rows):
                self.insert(sql, records[start : start + self.insert_rows])
            count += len(records)
            yield count

    def publish_all(self, staged: Sequence[Staged], mode: WriteMode) -> None:
        """Refuses first what would break: Oracle checks keys after each statement, or deletes along them."""
        if mode is WriteMode.OVERWRITE:
            for each in staged:
                found = self.link.fetch(_REFERENCES, each.schema, each.table.name) if each.there else []
                for owner, table, name in found:
                    raise InvalidArgument(
                        f"table {format_location(owner, table)} refers to {each.location} by key "
                        f'"{name}", which is not deferrable; disable the key, or choose another place'
                    )
        super().publish_all(staged, mode)

    def rename(self, staged: Staged) -> None:
        """Takes a name without a schema."""
        self.link.execute(
            f"ALTER TABLE {self.place(staged)} RENAME TO {self.dialect.quote(staged.table.name)}"
        )

    def drop_sql(self, staged: Staged) -> str:
        """Ignores that the table is not there; only the newest versions have words for that."""
        drop = f"DROP TABLE {self.place(staged)} PURGE".replace("'", "''")
        return (
            f"BEGIN EXECUTE IMMEDIATE '{drop}'; EXCEPTION WHEN OTHERS THEN "
            "IF SQLCODE != -942 THEN RAISE; END IF; END;"
        )
