"""A stand-in for BigQuery: its REST API for datasets, tables, query and load jobs, with the tables in DuckDB.

It proves what the driver sends and how it reads what comes; BigQuery's own SQL it only translates.
"""

import base64
import json
import re
import tempfile
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pyarrow.parquet as pq
import sqlglot

__all__ = ["BigQueryServer"]

_TYPES = {
    "BIGINT": "INTEGER",
    "INTEGER": "INTEGER",
    "DOUBLE": "FLOAT",
    "VARCHAR": "STRING",
    "BLOB": "BYTES",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "TIME": "TIME",
    "TIMESTAMP": "DATETIME",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    "JSON": "JSON",
}
_DUCKDB = {name: type for type, name in _TYPES.items()} | {
    "INT64": "BIGINT",
    "INTEGER": "BIGINT",
    "FLOAT64": "DOUBLE",
    "BOOL": "BOOLEAN",
    "NUMERIC": "DECIMAL(38, 9)",
}
_PAGE_ROWS = 5000


class BigQueryServer:
    """A server on loopback with one project, `p`."""

    def __init__(self) -> None:
        self.database = duckdb.connect(":memory:", config={"threads": 1})
        self.database.execute("SET TimeZone = 'UTC'")
        self.jobs: dict[str, dict[str, Any]] = {}
        self.canceled: list[str] = []
        self.statements: list[str] = []
        self.uploads: dict[str, dict[str, Any]] = {}
        self.fail_loads = False
        self.hold: threading.Event | None = None
        """Queries do not end before it is set, or they are canceled."""
        owner = self

        class Handler(_Handler):
            server_of_tests = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket.settimeout(1)  # who hangs up before being accepted must not block the others
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def run(self, *statements: str) -> None:
        """Runs statements in DuckDB's SQL."""
        for statement in statements:
            self.fetch(statement)

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        """Runs a statement in DuckDB's SQL and returns its rows."""
        with self.database.cursor() as cursor:
            return cursor.execute(statement).fetchall()

    def stop(self) -> None:
        """Stops it."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """Answers one request."""
        steps = path.removeprefix("/bigquery/v2/projects/p/").split("/")
        match method, steps:
            case "GET", ["datasets"]:
                rows = self.fetch("SELECT DISTINCT schema_name FROM duckdb_schemas() WHERE NOT internal")
                return {"datasets": [{"datasetReference": _reference(name)} for (name,) in sorted(rows)]}
            case "GET", ["datasets", dataset, "tables"]:
                return {"tables": [self._listed(dataset, *row) for row in self._tables(dataset)]}
            case "GET", ["datasets", dataset, "tables", table]:
                return self._described(dataset, table)
            case "POST", ["jobs"]:
                return self._insert(body)
            case "GET", ["jobs", id]:
                return self._job(id)
            case "POST", ["jobs", id, "cancel"]:
                self.canceled.append(id)
                self._end(self.jobs[id], "stopped", "Job execution was cancelled")
                return {"job": self._job(id)}
            case "GET", ["queries", id]:
                return self._rows(
                    id, int(query.get("pageToken", 0)), int(query.get("maxResults", _PAGE_ROWS))
                )
        raise _Refused(404, "notFound", f"Not found: {method} {path}")

    def _tables(self, dataset: str) -> list[tuple[Any, ...]]:
        return self.fetch(
            "SELECT table_name, 'TABLE' FROM duckdb_tables() "
            f"WHERE schema_name = '{dataset}' UNION ALL SELECT view_name, 'VIEW' FROM duckdb_views() "
            f"WHERE schema_name = '{dataset}' ORDER BY 1"
        )

    def _listed(self, dataset: str, table: str, kind: str) -> dict[str, Any]:
        return {"tableReference": _reference(dataset, table), "type": kind}

    def _described(self, dataset: str, table: str) -> dict[str, Any]:
        kinds = dict(self._tables(dataset))
        if table not in kinds:
            raise _Refused(404, "notFound", f"Not found: Table p:{dataset}.{table}")
        place = f'"{dataset}"."{table}"'
        [(count,)] = self.fetch(f"SELECT count(*) FROM {place}")
        columns = self.fetch(f"DESCRIBE {place}")
        return {
            "tableReference": _reference(dataset, table),
            "type": kinds[table],
            "numRows": str(count),
            "schema": {"fields": [_field(name, type, null == "YES") for name, type, null, *_ in columns]},
            "tableConstraints": self._constraints(dataset, table),
        }

    def _constraints(self, dataset: str, table: str) -> dict[str, Any]:
        found: dict[str, Any] = {"foreignKeys": []}
        for kind, columns, parent, referenced in self.fetch(
            "SELECT constraint_type, constraint_column_names, referenced_table, referenced_column_names "
            f"FROM duckdb_constraints() WHERE schema_name = '{dataset}' AND table_name = '{table}'"
        ):
            if kind == "PRIMARY KEY":
                found["primaryKey"] = {"columns": columns}
            elif kind == "FOREIGN KEY":
                pairs = zip(columns, referenced, strict=True)
                references = [{"referencingColumn": a, "referencedColumn": b} for a, b in pairs]
                found["foreignKeys"].append(
                    {
                        "referencedTable": _reference(dataset, parent),
                        "columnReferences": references,
                        "name": "k",
                    }
                )
        return found

    def _insert(self, body: dict[str, Any]) -> dict[str, Any]:
        id = body["jobReference"]["jobId"]
        if id in self.jobs:
            raise _Refused(409, "duplicate", f"Already Exists: Job p:{id}")
        job: dict[str, Any] = {
            "jobReference": {"projectId": "p", "jobId": id},
            "configuration": body["configuration"],
            "status": {"state": "RUNNING"},
            "statistics": {},
        }
        if "load" in body["configuration"]:
            self.jobs[id] = job
            return job
        sql = body["configuration"]["query"]["query"]
        self.statements.append(sql)
        expression = _parsed(sql)
        kind = "SELECT" if isinstance(expression, sqlglot.exp.Query) else expression.key.upper()
        job["statistics"] = {"query": {"statementType": kind}}
        if body["configuration"].get("dryRun"):
            try:
                columns = self.fetch(f"DESCRIBE {_translated(sql)}") if kind == "SELECT" else []
            except duckdb.Error as error:
                raise _Refused(400, "invalidQuery", str(error)) from None
            fields = [_field(name, type) for name, type, *_ in columns]
            job["statistics"]["query"]["schema"] = {"fields": fields}
            job["status"] = {"state": "DONE"}
            return job
        self.jobs[id] = job
        if self.hold is None:
            self._execute(job, sql)
        return job

    def _execute(self, job: dict[str, Any], sql: str) -> None:
        try:
            with self.database.cursor() as cursor:
                cursor.execute(_translated(sql))
                description = cursor.description or []
                job["rows"] = cursor.fetchall() if description else []
                job["fields"] = [_field(name, str(type)) for name, type, *_ in description]
            self._end(job)
        except duckdb.Error as error:
            self._end(job, "invalidQuery", str(error))

    def load(self, id: str, data: bytes) -> dict[str, Any]:
        """Ends a load job with its file."""
        job = self.jobs[id]
        config = job["configuration"]["load"]
        target = config["destinationTable"]
        place = f'"{target["datasetId"]}"."{target["tableId"]}"'
        there = target["tableId"] in dict(self._tables(target["datasetId"]))
        if self.fail_loads:
            self._end(job, "backendError", "The load has failed")
            return job
        if there and config["writeDisposition"] == "WRITE_EMPTY":
            self._end(job, "duplicate", f"Already Exists: {place}")
            return job
        with tempfile.TemporaryDirectory() as folder, self.database.cursor() as cursor:
            file = Path(folder, "file.parquet")
            file.write_bytes(data)
            names = ", ".join(f'"{name}"' for name in pq.read_schema(file).names)
            cursor.execute("BEGIN")
            try:
                if not there:
                    fields = ", ".join(
                        f'"{f["name"]}" {_DUCKDB[f["type"]]}' for f in config["schema"]["fields"]
                    )
                    cursor.execute(f"CREATE TABLE {place} ({fields})")
                elif config["writeDisposition"] == "WRITE_TRUNCATE_DATA":
                    cursor.execute(f"DELETE FROM {place}")
                cursor.execute(f"INSERT INTO {place} ({names}) SELECT * FROM read_parquet('{file}')")
                cursor.execute("COMMIT")
                self._end(job)
            except duckdb.Error as error:
                with suppress(duckdb.Error):
                    cursor.execute("ROLLBACK")
                self._end(job, "invalid", str(error))
        return job

    def _end(self, job: dict[str, Any], reason: str = "", message: str = "") -> None:
        job["status"] = {"state": "DONE"}
        if reason:
            job["status"]["errorResult"] = {"reason": reason, "message": message}
            job["status"]["errors"] = [job["status"]["errorResult"]]

    def _job(self, id: str) -> dict[str, Any]:
        if id not in self.jobs:
            raise _Refused(404, "notFound", f"Not found: Job p:{id}")
        return {name: value for name, value in self.jobs[id].items() if name not in ("rows", "fields")}

    def _rows(self, id: str, start: int, size: int) -> dict[str, Any]:
        job = self.jobs[id]
        error = job["status"].get("errorResult")
        if error:
            status = 404 if "does not exist" in error["message"] else 400
            raise _Refused(status, error["reason"], error["message"])
        reference = {"jobReference": job["jobReference"]}
        if job["status"]["state"] != "DONE":
            if self.hold is not None:
                self.hold.wait(0.2)
            return {**reference, "jobComplete": False}
        rows = job["rows"][start : start + min(size, _PAGE_ROWS)]
        answer = {
            **reference,
            "jobComplete": True,
            "schema": {"fields": job["fields"]},
            "totalRows": str(len(job["rows"])),
        }
        if size == 0:  # who waits for the end asks for no rows
            return answer
        answer["rows"] = [{"f": [{"v": _value(value)} for value in row]} for row in rows]
        if start + len(rows) < len(job["rows"]) and rows:
            answer["pageToken"] = str(start + len(rows))
        return answer


class _Refused(Exception):
    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
        }


class _Handler(BaseHTTPRequestHandler):
    server_of_tests: BigQueryServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _handle(self, method: str) -> None:
        parts = urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server_of_tests
        try:
            if parts.path.startswith("/upload/") or parts.path.startswith("/resumable/upload/"):
                return self._upload(method, parts, data)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            return self._send(server.answer(method, parts.path, query, json.loads(data) if data else None))
        except _Refused as refused:
            return self._send(refused.body, status=refused.status)

    def _upload(self, method: str, parts: Any, data: bytes) -> None:
        """Takes a file as a resumable upload, in chunks."""
        server = self.server_of_tests
        if method == "POST":
            job = server.answer("POST", "/bigquery/v2/projects/p/jobs", {}, json.loads(data))
            id = job["jobReference"]["jobId"]
            server.uploads[id] = {"data": b""}
            location = f"{server.url}/upload/session?id={id}"
            return self._send({}, headers={"Location": location})
        id = parse_qs(parts.query)["id"][0]
        server.uploads[id]["data"] += data
        total = self.headers["Content-Range"].rpartition("/")[2]
        if total == "*" or len(server.uploads[id]["data"]) < int(total):
            end = len(server.uploads[id]["data"]) - 1
            return self._send({}, status=308, headers={"Range": f"bytes=0-{end}"})
        return self._send(server.load(id, server.uploads[id]["data"]))

    def _send(self, body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _reference(dataset: str, table: str | None = None) -> dict[str, str]:
    return {"projectId": "p", "datasetId": dataset} | ({"tableId": table} if table else {})


def _field(name: str, type: str, nullable: bool = True) -> dict[str, str]:
    mode = "NULLABLE" if nullable else "REQUIRED"
    if type.endswith("[]"):
        return {"name": name, "type": _TYPES[type[:-2]], "mode": "REPEATED"}
    return {"name": name, "type": "NUMERIC" if type.startswith("DECIMAL") else _TYPES[type], "mode": mode}


def _parsed(sql: str) -> Any:
    sql = re.sub(r" FOR SYSTEM_TIME AS OF TIMESTAMP '[^']*'", "", sql)
    sql = re.sub(
        r"FARM_FINGERPRINT\((CONCAT\(.*?\))\) & 0x7FFFFFFFFFFFFFFF, ", r"HASH(\1) % 1000000007, ", sql
    )
    try:
        parsed = sqlglot.parse(sql, read="bigquery")
    except sqlglot.errors.ParseError as error:
        raise _Refused(400, "invalidQuery", f"Syntax error: {error}") from None
    if len(parsed) > 1:
        return sqlglot.exp.Command(this="SCRIPT")
    return parsed[0]


def _translated(sql: str) -> str:
    # DuckDB has no keys that nobody checks.
    return str(_parsed(sql).sql(dialect="duckdb")).removesuffix(" NOT ENFORCED")


def _value(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "isoformat"):
        if getattr(value, "tzinfo", None) is not None:
            return str(round(value.timestamp() * 1_000_000))
        return value.isoformat()
    return str(value)
