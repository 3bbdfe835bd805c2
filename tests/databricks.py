# ruff: noqa: N802 -- the generated code calls methods by these names
"""A stand-in for a Databricks SQL warehouse: its Thrift service over HTTP, with the tables in DuckDB.

The connector's own generated code reads and writes the messages. Files go to a folder in place of volumes.
"""

import json
import re
import tempfile
import threading
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pyarrow as pa
import sqlglot
from databricks.sql.thrift_api.TCLIService import TCLIService
from databricks.sql.thrift_api.TCLIService import ttypes as generated
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAcceleratedFactory
from thrift.transport.TTransport import TMemoryBuffer

__all__ = ["DatabricksServer"]

ttypes: Any = generated
make_processor: Any = TCLIService.Processor
_SUCCESS = ttypes.TStatus(statusCode=ttypes.TStatusCode.SUCCESS_STATUS)
_STATES = ttypes.TOperationState
_ERRORS: dict[type[Exception], str] = {
    duckdb.CatalogException: "TABLE_OR_VIEW_NOT_FOUND",
    duckdb.ConversionException: "CAST_INVALID_INPUT",
}
_TYPES = {
    pa.int8(): "TINYINT_TYPE",
    pa.int16(): "SMALLINT_TYPE",
    pa.int32(): "INT_TYPE",
    pa.int64(): "BIGINT_TYPE",
    pa.float32(): "FLOAT_TYPE",
    pa.float64(): "DOUBLE_TYPE",
    pa.bool_(): "BOOLEAN_TYPE",
    pa.date32(): "DATE_TYPE",
    pa.binary(): "BINARY_TYPE",
}


class DatabricksServer:
    """A server on loopback that takes one token; it gives that token to the service principal `app`."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.database = duckdb.connect(":memory:", config={"threads": 1})
        self.database.execute("ATTACH ':memory:' AS shop")
        self.canceled: list[bytes] = []
        self.waiting = 0
        """Statements that have been asked about while they were held."""
        self.hold: threading.Event | None = None
        """Queries do not end before it is set, or they are canceled."""
        self._files = tempfile.TemporaryDirectory(prefix="simulacra-volumes-")
        self.folder = Path(self._files.name)
        owner = self

        class Handler(_Handler):
            server_of_tests = owner
            processor = make_processor(_Service(owner))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket.settimeout(1)  # who hangs up before being accepted must not block the others
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def run(self, *statements: str) -> None:
        """Runs statements in DuckDB's SQL, in the catalog `shop`."""
        for statement in statements:
            self.fetch(statement)

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        """Runs a statement in DuckDB's SQL and returns its rows."""
        with self.database.cursor() as cursor:
            cursor.execute("USE shop.main")
            return cursor.execute(statement).fetchall()

    def stop(self) -> None:
        """Stops it."""
        self._server.shutdown()
        self._server.server_close()
        self._files.cleanup()


class _Operation:
    """A statement: what came of it, and how far its rows are fetched."""

    def __init__(self) -> None:
        self.state = _STATES.RUNNING_STATE
        self.error = ""
        self.rows: pa.Table = pa.table({})
        self.is_upload = False
        self.fetched = False


class _Service:
    """The methods of the Thrift service that the connector calls."""

    def __init__(self, server: DatabricksServer) -> None:
        self._server = server
        self._operations: dict[bytes, _Operation] = {}

    def OpenSession(self, request: Any) -> Any:
        handle = ttypes.TSessionHandle(_id(), serverProtocolVersion=_VERSION)
        return ttypes.TOpenSessionResp(
            status=_SUCCESS,
            serverProtocolVersion=_VERSION,
            sessionHandle=handle,
            canUseMultipleCatalogs=True,
            initialNamespace=request.initialNamespace,
        )

    def CloseSession(self, request: Any) -> Any:
        return ttypes.TCloseSessionResp(status=_SUCCESS)

    def ExecuteStatement(self, request: Any) -> Any:
        operation = _Operation()
        handle = ttypes.TOperationHandle(_id(), ttypes.TOperationType.EXECUTE_STATEMENT, True)
        self._operations[handle.operationId.guid] = operation
        values = [each.value.stringValue for each in request.parameters or []]
        if self._server.hold is None:
            self._run(operation, request.statement, values)
        return ttypes.TExecuteStatementResp(status=_SUCCESS, operationHandle=handle)

    def GetOperationStatus(self, request: Any) -> Any:
        operation = self._operations[request.operationHandle.operationId.guid]
        if self._server.hold is not None:
            self._server.waiting += 1
            self._server.hold.wait(0.1)
        return ttypes.TGetOperationStatusResp(
            status=_SUCCESS,
            operationState=operation.state,
            errorMessage=operation.error or None,
            displayMessage=operation.error or None,
        )

    def CancelOperation(self, request: Any) -> Any:
        id = request.operationHandle.operationId.guid
        self._operations[id].state = _STATES.CANCELED_STATE
        self._server.canceled.append(id)
        return ttypes.TCancelOperationResp(status=_SUCCESS)

    def CloseOperation(self, request: Any) -> Any:
        return ttypes.TCloseOperationResp(status=_SUCCESS)

    def GetResultSetMetadata(self, request: Any) -> Any:
        operation = self._operations[request.operationHandle.operationId.guid]
        schema = operation.rows.schema
        columns = [_column(field, position) for position, field in enumerate(schema)]
        return ttypes.TGetResultSetMetadataResp(
            status=_SUCCESS,
            schema=ttypes.TTableSchema(columns),
            resultFormat=ttypes.TSparkRowSetType.ARROW_BASED_SET,
            lz4Compressed=False,
            arrowSchema=schema.serialize().to_pybytes(),
            isStagingOperation=operation.is_upload,
        )

    def FetchResults(self, request: Any) -> Any:
        operation = self._operations[request.operationHandle.operationId.guid]
        batches = [] if operation.fetched else operation.rows.combine_chunks().to_batches(10_000)
        operation.fetched = True
        return ttypes.TFetchResultsResp(
            status=_SUCCESS,
            hasMoreRows=False,
            resultSetMetadata=self.GetResultSetMetadata(request),
            results=ttypes.TRowSet(
                startRowOffset=0,
                rows=[],
                arrowBatches=[
                    ttypes.TSparkArrowBatch(batch=batch.serialize().to_pybytes(), rowCount=batch.num_rows)
                    for batch in batches
                ],
            ),
        )

    def _run(self, operation: _Operation, sql: str, values: list[str]) -> None:
        try:
            if upload := re.match(r"PUT '(.*)' INTO '(.*)' OVERWRITE", sql):
                operation.is_upload = True
                operation.rows = pa.table(
                    {
                        "operation": ["PUT"],
                        "presignedUrl": [f"{self._server.url}/files?name={upload[2].replace('/', '_')}"],
                        "headers": ["{}"],
                        "localFile": [upload[1]],
                    }
                )
            elif "VOLUME" not in sql:
                with self._server.database.cursor() as cursor:
                    cursor.execute("USE shop.main; SET TimeZone = 'UTC'")
                    translated = self._translated(sql)
                    if translated.startswith("SELECT"):
                        operation.rows = _plain(cursor.sql(translated, params=values).to_arrow_table())
                    else:
                        cursor.execute(translated, values)
            operation.state = _STATES.FINISHED_STATE
        except (duckdb.Error, sqlglot.errors.ParseError) as error:
            operation.error = f"[{_ERRORS.get(type(error), 'PARSE_SYNTAX_ERROR')}] {error}"
            operation.state = _STATES.ERROR_STATE

    def _translated(self, sql: str) -> str:
        sql = sql.replace("full_data_type", "data_type")
        sql = sql.replace("`shop`.`information_schema`", "`system`.`information_schema`")
        sql = re.sub(r"ALTER TABLE .* ADD FOREIGN KEY .*", "SELECT 1", sql)
        sql = re.sub(
            r"`shop`\.`(main|s)`\.(`\w+`) RENAME TO `shop`\.`\w+`\.", r"`shop`.`\1`.\2 RENAME TO ", sql
        )
        folder = self._server.folder
        files = re.search(r"READ_FILES\('(.*?)', format => 'parquet'\)", sql)
        file = folder / files[1].replace("/", "_") if files else None
        sql = re.sub(r"READ_FILES\(.*?\)", "parquet_rows", sql)
        overwrite = re.match(r"INSERT OVERWRITE (\S+) (.*)", sql)
        sql = f"INSERT INTO {overwrite[1]} {overwrite[2]}" if overwrite else sql
        [parsed] = sqlglot.transpile(sql, read="databricks", write="duckdb")
        parsed = re.sub(r'"?parquet_rows"?', f"read_parquet('{file}')", parsed)
        if overwrite:
            place = overwrite[1].replace("`", '"')
            return f"BEGIN; DELETE FROM {place}; {parsed}; COMMIT"
        return parsed


_VERSION = ttypes.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V7


class _Handler(BaseHTTPRequestHandler):
    server_of_tests: DatabricksServer
    processor: Any
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Takes a Thrift call, or a service principal's request for a token."""
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server_of_tests
        if self.path.endswith("/oauth2/v2.0/token"):
            form = parse_qs(data.decode())
            if form["client_id"] != ["app"] or form["client_secret"] != ["app-secret"]:
                return self._send(b"{}", status=401)
            return self._send(json.dumps({"access_token": server.token}).encode())
        if self.headers.get("Authorization") != f"Bearer {server.token}":
            return self._send(b"", status=403)
        factory = TBinaryProtocolAcceleratedFactory()
        answer = TMemoryBuffer()
        self.processor.process(factory.getProtocol(TMemoryBuffer(data)), factory.getProtocol(answer))
        return self._send(answer.getvalue(), kind="application/x-thrift")

    def do_PUT(self) -> None:
        """Takes a file."""
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = parse_qs(urlsplit(self.path).query)["name"][0]
        (self.server_of_tests.folder / name).write_bytes(data)
        self._send(b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _send(self, data: bytes, *, status: int = 200, kind: str = "application/json") -> None:
        with suppress(BrokenPipeError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


def _id() -> Any:
    return ttypes.THandleIdentifier(uuid.uuid4().bytes, uuid.uuid4().bytes)


def _plain(rows: pa.Table) -> pa.Table:
    """Gives DuckDB's Arrow the types that Databricks sends."""
    fields = []
    for field in rows.schema:
        type = field.type
        if pa.types.is_time(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type):
            type = pa.string()
        elif pa.types.is_timestamp(type):
            type = pa.timestamp("us", "UTC" if type.tz else None)
        fields.append(pa.field(field.name, type))
    return rows.cast(pa.schema(fields))


def _column(field: Any, position: int) -> Any:
    type = field.type
    qualifiers = None
    if pa.types.is_decimal(type):
        name = "DECIMAL_TYPE"
        qualifiers = ttypes.TTypeQualifiers(
            {
                "precision": ttypes.TTypeQualifierValue(i32Value=type.precision),
                "scale": ttypes.TTypeQualifierValue(i32Value=type.scale),
            }
        )
    elif pa.types.is_timestamp(type):
        name = "TIMESTAMP_TYPE"
    else:
        name = _TYPES.get(type, "STRING_TYPE")
    primitive = ttypes.TPrimitiveTypeEntry(getattr(ttypes.TTypeId, name), qualifiers)
    entry = ttypes.TTypeDesc([ttypes.TTypeEntry(primitiveEntry=primitive)])
    return ttypes.TColumnDesc(field.name, entry, position + 1, "")
