"""A stand-in for SQL Server: it speaks TDS 7.4, translates T-SQL, and keeps its tables in DuckDB.

It proves that the driver speaks the protocol: login, TLS, batches, result sets, errors, bulk load, hanging
up. What a real server makes of the T-SQL it cannot prove.
"""

import re
import socket
import ssl
import struct
import threading
from contextlib import suppress
from queue import Queue
from typing import Any

import duckdb
import sqlglot

from tests.tds_values import COLLATION, bulk_rows, digits, result

__all__ = ["TdsServer"]

_PRELOGIN, _BATCH, _BULK, _LOGIN = 0x12, 0x01, 0x07, 0x10
_DONE = struct.pack("<BHHQ", 0xFD, 0, 0, 0)

# What the driver asks of schema sys, in terms of DuckDB's own catalog.
_CATALOG = """
CREATE SCHEMA sys;
CREATE VIEW sys.schemas AS SELECT DISTINCT schema_name AS name, oid AS schema_id FROM duckdb_schemas()
  WHERE NOT internal AND schema_name <> 'sys';
CREATE VIEW sys.objects AS
  SELECT table_name AS name, 'U' AS type, schema_oid AS schema_id, table_oid AS object_id, 0 AS is_ms_shipped
  FROM duckdb_tables() UNION ALL
  SELECT view_name, 'V', schema_oid, view_oid, 0 FROM duckdb_views() WHERE NOT internal;
CREATE MACRO object_id(text) AS (SELECT max(o.object_id) FROM sys.objects o JOIN sys.schemas s
  ON s.schema_id = o.schema_id WHERE text = '[' || s.name || '].[' || o.name || ']');
CREATE VIEW sys.partitions AS SELECT estimated_size AS "rows", 0 AS index_id, table_oid AS object_id
  FROM duckdb_tables();
CREATE VIEW sys.types AS SELECT * FROM (VALUES (1, 'int'), (2, 'bigint'), (3, 'nvarchar'), (4, 'float'),
  (5, 'decimal'), (6, 'date'), (7, 'datetime2'), (8, 'varbinary'), (9, 'bit'), (10, 'smallint'), (11, 'real'),
  (12, 'datetimeoffset'), (13, 'time'), (14, 'tinyint'), (15, 'uniqueidentifier'), (16, 'geography'))
  t(user_type_id, name);
CREATE VIEW sys.columns AS SELECT column_name AS name, table_oid AS object_id, column_index AS column_id,
  is_nullable, CASE split_part(data_type, '(', 1) WHEN 'INTEGER' THEN 1 WHEN 'BIGINT' THEN 2
  WHEN 'VARCHAR' THEN 3 WHEN 'DOUBLE' THEN 4 WHEN 'DECIMAL' THEN 5 WHEN 'DATE' THEN 6 WHEN 'TIMESTAMP' THEN 7
  WHEN 'TIMESTAMP_NS' THEN 7
  WHEN 'BLOB' THEN 8 WHEN 'BOOLEAN' THEN 9 WHEN 'SMALLINT' THEN 10 WHEN 'FLOAT' THEN 11
  WHEN 'TIMESTAMP WITH TIME ZONE' THEN 12 WHEN 'TIME' THEN 13 WHEN 'UTINYINT' THEN 14 WHEN 'UUID' THEN 15
  ELSE 16 END AS user_type_id, user_type_id AS system_type_id,
  coalesce(numeric_precision, 0) AS precision,
  CASE WHEN data_type = 'TIMESTAMP_NS' THEN 7 WHEN data_type LIKE 'TIME%' THEN 6
  ELSE coalesce(numeric_scale, 0) END AS scale, -1 AS max_length
  FROM duckdb_columns();
CREATE VIEW sys.keys AS SELECT *, unnest(constraint_column_names) AS column_name,
  unnest(range(1, len(constraint_column_names) + 1)) AS position,
  CASE WHEN constraint_type = 'FOREIGN KEY' THEN unnest(referenced_column_names) END AS referenced_name
  FROM duckdb_constraints();
CREATE VIEW sys.indexes AS SELECT table_oid AS object_id, 1 AS index_id, 1 AS is_primary_key
  FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY';
CREATE VIEW sys.index_columns AS SELECT k.table_oid AS object_id, 1 AS index_id, k.position AS key_ordinal,
  c.column_id FROM sys.keys k JOIN sys.columns c ON c.object_id = k.table_oid AND c.name = k.column_name
  WHERE k.constraint_type = 'PRIMARY KEY';
CREATE VIEW sys.foreign_keys AS SELECT k.constraint_name AS name,
  k.table_oid * 1000 + k.constraint_index AS object_id,
  k.table_oid AS parent_object_id, o.object_id AS referenced_object_id, 0 AS is_disabled
  FROM duckdb_constraints() k JOIN sys.objects o ON o.name = k.referenced_table AND o.schema_id = k.schema_oid
  WHERE k.constraint_type = 'FOREIGN KEY';
CREATE VIEW sys.foreign_key_columns AS SELECT f.object_id AS constraint_object_id,
  k.position AS constraint_column_id, f.parent_object_id, c.column_id AS parent_column_id,
  f.referenced_object_id, r.column_id AS referenced_column_id
  FROM sys.foreign_keys f JOIN sys.keys k ON k.table_oid * 1000 + k.constraint_index = f.object_id
  JOIN sys.columns c ON c.object_id = f.parent_object_id AND c.name = k.column_name
  JOIN sys.columns r ON r.object_id = f.referenced_object_id AND r.name = k.referenced_name;
CREATE VIEW sys.identity_columns AS SELECT '' AS name, 0 AS object_id WHERE false;
CREATE VIEW sys.databases AS SELECT 1 AS snapshot_isolation_state, 1 AS database_id;
CREATE MACRO db_id() AS 1;
CREATE MACRO serverproperty(name) AS CASE name WHEN 'Edition' THEN 'Stand-in' ELSE '16.0.1' END;
CREATE MACRO switchoffset(moment, zone) AS moment AT TIME ZONE 'UTC';
"""
_TYPE_NAMES = {
    "INTEGER": "int",
    "BIGINT": "bigint",
    "VARCHAR": "nvarchar(max)",
    "DOUBLE": "float",
    "BOOLEAN": "bit",
    "DATE": "date",
    "TIMESTAMP": "datetime2(6)",
}
# Types that sqlglot leaves with parameters that DuckDB does not know.
_TYPES = (
    (r"\bTEXT\(\w+\)", "TEXT"),
    (r"\bBLOB\(\w+\)", "BLOB"),
    (r" NULLS FIRST", ""),
    (r"\bBIT\b", "BOOLEAN"),
    (r"\bREAL\(53\)", "DOUBLE"),
    (r"\bTIMESTAMP\(7\)", "TIMESTAMP_NS"),
    (r"\b(TIMESTAMPTZ|TIMESTAMP|TIME)\(\d\)", r"\1"),
)
_MESSAGES: tuple[tuple[type[Exception], int], ...] = (
    (duckdb.CatalogException, 208),
    (duckdb.ConstraintException, 2627),
    (duckdb.ConversionException, 8114),
    (duckdb.Error, 102),
)


class TdsServer:
    """A server on loopback. With a TLS context it demands encryption, as a hardened SQL Server does."""

    def __init__(self, password: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.password = password
        self.database = duckdb.connect(":memory:", config={"threads": 1})
        self.database.execute("SET TimeZone = 'UTC'")
        self.database.execute(_CATALOG)
        self.database.execute("CREATE SCHEMA dbo")
        self.tls = tls
        self.statements: list[str] = []
        self.logins: list[str] = []
        """Users who have sent a password."""
        self.running = 0
        self.hang_up_after: int | None = None
        """Bulk loads after which every connection is cut, as when a server dies."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def run(self, *statements: str) -> None:
        """Runs statements in DuckDB's SQL."""
        for statement in statements:
            self.fetch(statement)

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        """Runs a statement in DuckDB's SQL and returns its rows."""
        with self.database.cursor() as cursor:
            return cursor.execute(statement).fetchall()

    def stop(self) -> None:
        """Accepts no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=_Client(self, client).serve, daemon=True).start()


class _Client:
    """One connection: a thread that reads messages, so that hanging up is noticed, and one that answers."""

    def __init__(self, server: TdsServer, client: socket.socket) -> None:
        self._server = server
        self._socket = client
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._database = server.database.cursor()
        self._database.execute("SET TimeZone = 'UTC'")
        self._bulk = ""

    def serve(self) -> None:
        try:
            self._log_in()
            messages: Queue[tuple[int, bytes] | None] = Queue()
            threading.Thread(target=self._listen, args=(messages,), daemon=True).start()
            while (message := messages.get()) is not None:
                self._reply(self._answer(*message))
        except (OSError, EOFError):
            pass
        finally:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._database.close()

    def _log_in(self) -> None:
        self._message()
        encryption = 3 if self._server.tls else 2
        fields = struct.pack(">BHH BHH B", 0, 11, 6, 1, 17, 1, 0xFF) + bytes([16, 0, 0, 1, 0, 0, encryption])
        self._reply(fields)
        if self._server.tls:
            self._shake_hands(self._server.tls)
        _, login = self._message()
        password = bytes(
            ((byte ^ 0xA5) & 0x0F) << 4 | (byte ^ 0xA5) >> 4 for byte in _login_field(login, 44)
        ).decode("utf-16-le")
        user = _login_field(login, 40).decode("utf-16-le")
        self._server.logins.append(user)
        if password != self._server.password:
            self._reply(_error(18456, f"Login failed for user '{user}'."))
            raise EOFError
        name = "Microsoft SQL Server".encode("utf-16-le")
        body = b"\x01\x74\x00\x00\x04" + bytes([len(name) // 2]) + name + bytes([16, 0, 0, 1])
        collation = b"\xe3" + struct.pack("<HBB", 8, 7, 5) + COLLATION + b"\0"
        self._reply(collation + b"\xad" + struct.pack("<H", len(body)) + body + _DONE)

    def _shake_hands(self, context: ssl.SSLContext) -> None:
        """Wraps the handshake in prelogin packets; what follows is plain TLS."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                if data := self._outgoing.read():
                    self._reply(data, kind=_PRELOGIN)
                self._incoming.write(self._message()[1])
                continue
            if data := self._outgoing.read():
                self._reply(data, kind=_PRELOGIN)
            self._tls = tls
            return

    def _listen(self, messages: "Queue[tuple[int, bytes] | None]") -> None:
        try:
            while True:
                messages.put(self._message())
        except (OSError, EOFError):
            with suppress(duckdb.ConnectionException):
                self._database.interrupt()
            messages.put(None)

    def _answer(self, kind: int, data: bytes) -> bytes:
        if kind == _BULK:
            return self._load(data)
        if kind != _BATCH:
            return struct.pack("<BHHQ", 0xFD, 0x20, 0, 0)  # an attention is acknowledged
        sql = data[struct.unpack_from("<I", data)[0] :].decode("utf-16-le")
        self._server.statements.append(sql)
        self._server.running += 1
        try:
            return self._run(sql)
        except duckdb.Error as error:
            number = next(number for kind_, number in _MESSAGES if isinstance(error, kind_))
            return _error(number, str(error))
        except sqlglot.errors.ParseError as error:
            return _error(102, str(error))
        finally:
            self._server.running -= 1

    def _run(self, sql: str) -> bytes:
        if sql.startswith("INSERT BULK"):
            table = sql.removeprefix("INSERT BULK ").partition("](")[0] + "]"
            self._bulk = table.replace("[", '"').replace("]", '"')
            return _DONE
        if "dm_exec_describe_first_result_set" in sql:
            return self._describe(sql)
        if renamed := re.match(r"EXEC sp_rename N'(\[.*?\]\.\[.*?\])', N'(.*?)'", sql):
            place = renamed[1].replace("[", '"').replace("]", '"')
            sql = f'ALTER TABLE {place} RENAME TO "{renamed[2]}"'
        elif re.match(
            r"(?i)SET |USE |IF @@TRANCOUNT|ALTER TABLE .* ((CHECK|NOCHECK) CONSTRAINT|ADD FOREIGN KEY)",
            sql,
        ):
            if "ROLLBACK" in sql:
                self._database.rollback()
            return _DONE
        else:
            sql = _translated(sql)
        cursor = self._database.execute(sql)
        return result(cursor.description, cursor.fetchall()) if cursor.description else _DONE

    def _describe(self, sql: str) -> bytes:
        inner = re.search(r"N'(.*)', NULL, 0\)", sql, re.DOTALL)[1].replace("''", "'")  # type: ignore[index]
        try:
            rows = self._database.execute(f"DESCRIBE {_translated(inner)}").fetchall()
        except duckdb.Error:
            rows = []
        described = [
            (name, _TYPE_NAMES.get(type, type.lower()), 1, *digits(type), -1) for name, type, *_ in rows
        ]
        names = ("name", "system_type_name", "is_nullable", "precision", "scale", "max_length")
        types = ("VARCHAR", "VARCHAR", *["BIGINT"] * 4)
        return result(list(zip(names, types, strict=True)), described)

    def _load(self, data: bytes) -> bytes:
        if self._server.hang_up_after is not None:
            if self._server.hang_up_after == 0:
                raise EOFError
            self._server.hang_up_after -= 1
        names, rows = bulk_rows(data)
        marks = ", ".join("?" * len(names))
        columns = ", ".join(f'"{name}"' for name in names)
        try:
            self._database.executemany(f"INSERT INTO {self._bulk} ({columns}) VALUES ({marks})", rows)
        except duckdb.Error as error:
            return _error(2627 if isinstance(error, duckdb.ConstraintException) else 8114, str(error))
        return struct.pack("<BHHQ", 0xFD, 0x10, 0, len(rows))

    def _message(self) -> tuple[int, bytes]:
        body = b""
        while True:
            kind, status, length = struct.unpack(">BBH4x", self._read(8))
            body += self._read(length - 8)
            if status & 1:
                return kind, body

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if self._tls is None:
                piece = self._socket.recv(size - len(data))
            else:
                piece = self._read_tls(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def _read_tls(self, size: int) -> bytes:
        assert self._tls is not None
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                data = self._socket.recv(65536)
                if not data:
                    return b""
                self._incoming.write(data)

    def _reply(self, data: bytes, kind: int = 0x04) -> None:
        out = b""
        pieces = [data[start : start + 4088] for start in range(0, len(data), 4088)]
        for number, piece in enumerate(pieces, 1):
            last = number == len(pieces)
            out += struct.pack(">BBHHBB", kind, int(last), len(piece) + 8, 0, number % 256, 0) + piece
        if self._tls is not None:
            self._tls.write(out)
            out = self._outgoing.read()
        self._socket.sendall(out)


def _translated(sql: str) -> str:
    """Translates T-SQL to DuckDB's; what prints times is the text of them there."""
    sql = re.sub(r"CONVERT\(bigint, SUBSTRING\(HASHBYTES\('MD5', (CONCAT\(.*?\))\), 1, 7\)\)",
                 r"(HASH(\1) % 1000000007)", sql)  # fmt: skip
    sql = re.sub(r"CONVERT\(varchar\(\d+\), (.*?), 121\)", r"CAST(\1 AS varchar(40))", sql)
    sql = re.sub(r"DATEPART\(nanosecond, (CAST\(.*?\)\s*AS datetime2\(7\)\))\)", r"NANOSECOND(\1)", sql)
    [translated] = sqlglot.transpile(sql, read="tsql", write="duckdb")
    for pattern, type in _TYPES:
        translated = re.sub(pattern, type, translated)
    return translated


def _login_field(login: bytes, at: int) -> bytes:
    start, length = struct.unpack_from("<HH", login, at)
    return login[start : start + 2 * length]


def _error(number: int, text: str) -> bytes:
    message = text[:1000].encode("utf-16-le")
    body = struct.pack("<IBBH", number, 1, 16, len(message) // 2) + message + b"\0\0" + struct.pack("<I", 1)
    return b"\xaa" + struct.pack("<H", len(body)) + body + struct.pack("<BHHQ", 0xFD, 2, 0, 0)
