"""The service on the wire: translate, one call, translate. The base answers the rest: UNIMPLEMENTED."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from google.protobuf import empty_pb2

from simulacra.domain import ConnectorAccessType, ConnectorConfig, ConnectorType
from simulacra.domain import Upload as UploadState
from simulacra.errors import InvalidArgument
from simulacra.rpc import current_principal
from simulacra.v1 import (
    common_pb2,
    connector_pb2,
    connector_pb2_grpc,
    internal_pb2,
    internal_pb2_grpc,
    upload_pb2,
    upload_pb2_grpc,
)
from simulacra.wire import enum_from_proto, from_proto, masked_fields, to_proto
from simulacra_connector.drivers.base import ReadOptions, WriteMode
from simulacra_connector.drivers.delivery import ForeignKeyToMake
from simulacra_connector.service import ConnectorService
from simulacra_connector.sources import PullRequest, RowsChunk, TableRequest
from simulacra_connector.uploads import OpenUpload, UploadService

__all__ = ["ConnectorInternalServicer", "ConnectorServicer", "UploadServicer"]

_CHANGEABLE = ("name", "config", "secrets", "ssl")


class ConnectorServicer(connector_pb2_grpc.ConnectorServiceServicer):
    """Connectors, and reading through them."""

    def __init__(self, service: ConnectorService) -> None:
        self._service = service

    async def CreateConnector(
        self, request: connector_pb2.CreateConnectorRequest, context: Any
    ) -> connector_pb2.Connector:
        connector = await self._service.create(
            current_principal(),
            from_proto(request.config, ConnectorConfig, prefix="config"),
            request_id=request.request_id or None,
            test=request.test_connection if request.HasField("test_connection") else True,
        )
        return to_proto(connector, connector_pb2.Connector)

    async def GetConnector(
        self, request: connector_pb2.GetConnectorRequest, context: Any
    ) -> connector_pb2.Connector:
        connector = await self._service.get(current_principal(), request.id)
        return to_proto(connector, connector_pb2.Connector)

    async def ListConnectors(
        self, request: connector_pb2.ListConnectorsRequest, context: Any
    ) -> connector_pb2.ListConnectorsResponse:
        items, token, total = await self._service.list(
            current_principal(),
            page_size=request.page_size,
            page_token=request.page_token,
            search_term=request.search_term,
            types=[type for number in request.types if (type := enum_from_proto(number, ConnectorType))],
            access_type=enum_from_proto(request.access_type, ConnectorAccessType),
        )
        results = [to_proto(item, connector_pb2.ConnectorListItem) for item in items]
        return connector_pb2.ListConnectorsResponse(results=results, next_page_token=token, total_count=total)

    async def UpdateConnector(
        self, request: connector_pb2.UpdateConnectorRequest, context: Any
    ) -> connector_pb2.Connector:
        connector = await self._service.update(
            current_principal(),
            request.id,
            masked_fields(request, request.update_mask, allowed=_CHANGEABLE),
            test=request.test_connection if request.HasField("test_connection") else True,
        )
        return to_proto(connector, connector_pb2.Connector)

    async def DeleteConnector(
        self, request: connector_pb2.DeleteConnectorRequest, context: Any
    ) -> empty_pb2.Empty:
        await self._service.delete(current_principal(), request.id)
        return empty_pb2.Empty()

    async def TestConnection(
        self, request: connector_pb2.TestConnectionRequest, context: Any
    ) -> connector_pb2.TestConnectionResponse:
        if request.WhichOneof("target") == "config":
            connection = self._service.checked(from_proto(request.config, ConnectorConfig, prefix="config"))
        else:
            connection = await self._service.connection(current_principal(), request.id)
        seconds, version = await self._service.test(connection)
        return connector_pb2.TestConnectionResponse(seconds=seconds, server_version=version)

    async def ListConnectorTypes(
        self, request: connector_pb2.ListConnectorTypesRequest, context: Any
    ) -> connector_pb2.ListConnectorTypesResponse:
        types = self._service.types()
        results = [to_proto(type, connector_pb2.ConnectorTypeDescription) for type in types]
        return connector_pb2.ListConnectorTypesResponse(results=results)

    async def ListLocations(
        self, request: connector_pb2.ListLocationsRequest, context: Any
    ) -> connector_pb2.ListLocationsResponse:
        locations = await self._service.locations(current_principal(), request.id, request.prefix)
        return connector_pb2.ListLocationsResponse(locations=locations)

    async def GetSchema(
        self, request: connector_pb2.GetSchemaRequest, context: Any
    ) -> connector_pb2.TableSchema:
        schema = await self._service.schema(current_principal(), request.id, request.location)
        return to_proto(schema, connector_pb2.TableSchema)

    async def ReadData(
        self, request: connector_pb2.ReadDataRequest, context: Any
    ) -> AsyncIterator[common_pb2.ArrowChunk]:
        chunks = await self._service.read(
            current_principal(), request.id, request.location, _read_options(request)
        )
        async for chunk in _arrow(chunks):
            yield chunk

    async def Query(
        self, request: connector_pb2.QueryRequest, context: Any
    ) -> AsyncIterator[common_pb2.ArrowChunk]:
        max_rows = _positive(request.max_rows) if request.HasField("max_rows") else None
        chunks = await self._service.query(current_principal(), request.id, request.sql, max_rows)
        async for chunk in _arrow(chunks):
            yield chunk

    async def WriteData(
        self, request_iterator: AsyncIterator[connector_pb2.WriteDataRequest], context: Any
    ) -> connector_pb2.WriteDataResponse:
        first = await anext(request_iterator, connector_pb2.WriteDataRequest())
        if first.WhichOneof("part") != "header":
            raise InvalidArgument.of("header", "the first message must be the header")
        mode = _write_mode(first.header)
        data = (request.data async for request in request_iterator)
        rows = await self._service.write(
            current_principal(), first.header.id, first.header.location, data, mode
        )
        return connector_pb2.WriteDataResponse(rows=rows)


class ConnectorInternalServicer(internal_pb2_grpc.ConnectorInternalServiceServicer):
    """What the other services ask for."""

    def __init__(self, service: ConnectorService, uploads: UploadService) -> None:
        self._service = service
        self._uploads = uploads

    async def PullTable(
        self, request: internal_pb2.PullTableRequest, context: Any
    ) -> AsyncIterator[internal_pb2.PullTableProgress]:
        tables = [_pull_request(request)]
        events = await self._service.pull(current_principal(), request.connector_id, tables)
        async with aclosing(events):
            async for _, event in events:
                yield internal_pb2.PullTableProgress(**asdict(event))

    async def PullTables(
        self, request: internal_pb2.PullTablesRequest, context: Any
    ) -> AsyncIterator[internal_pb2.PullTablesProgress]:
        tables = [_pull_request(table) for table in request.tables]
        events = await self._service.pull(current_principal(), request.connector_id, tables)
        async with aclosing(events):
            async for name, event in events:
                progress = internal_pb2.PullTableProgress(**asdict(event))
                yield internal_pb2.PullTablesProgress(artifact_name=name, progress=progress)

    async def DeliverTables(
        self, request: internal_pb2.DeliverTablesRequest, context: Any
    ) -> AsyncIterator[internal_pb2.DeliverTablesProgress]:
        caller, mode = current_principal(), _write_mode(request)
        if request.validate_only:
            names = [table.name for table in request.tables]
            await self._service.check_delivery(caller, request.connector_id, request.location, names, mode)
            return
        events = await self._service.deliver(
            caller,
            request.connector_id,
            request.location,
            [_table_request(table) for table in request.tables],
            mode,
            delivery_id=request.delivery_id,
        )
        async with aclosing(events):
            async for event in events:
                yield internal_pb2.DeliverTablesProgress(**asdict(event))

    async def StoreTableData(
        self, request: internal_pb2.StoreTableDataRequest, context: Any
    ) -> connector_pb2.Connector:
        connector = await self._uploads.store_table_data(
            current_principal(), request.data, table_id=request.table_id, name=request.name
        )
        return to_proto(connector, connector_pb2.Connector)

    async def AddReference(self, request: internal_pb2.AddReferenceRequest, context: Any) -> empty_pb2.Empty:
        await self._service.add_reference(
            current_principal(), request.resource_id, user_uri=request.user_uri, user_name=request.user_name
        )
        return empty_pb2.Empty()

    async def RemoveReference(
        self, request: internal_pb2.RemoveReferenceRequest, context: Any
    ) -> empty_pb2.Empty:
        await self._service.remove_reference(
            current_principal(), request.resource_id, user_uri=request.user_uri
        )
        return empty_pb2.Empty()


class UploadServicer(upload_pb2_grpc.UploadServiceServicer):
    """Files in chunks."""

    def __init__(self, uploads: UploadService) -> None:
        self._uploads = uploads

    async def Upload(
        self, request_iterator: AsyncIterator[upload_pb2.UploadRequest], context: Any
    ) -> upload_pb2.Upload:
        first = await anext(request_iterator, upload_pb2.UploadRequest())
        if first.WhichOneof("part") != "header":
            raise InvalidArgument.of("header", "the first message must be the header")
        upload = await self._begin(first.header)
        try:
            done = await self._receive(upload, request_iterator)
        finally:
            self._uploads.release(upload)
        return to_proto(done, upload_pb2.Upload)

    async def GetUpload(self, request: upload_pb2.GetUploadRequest, context: Any) -> upload_pb2.Upload:
        return to_proto(await self._uploads.get(current_principal(), request.id), upload_pb2.Upload)

    async def _begin(self, header: upload_pb2.UploadHeader) -> OpenUpload:
        return await self._uploads.begin(
            current_principal(),
            header.upload_id,
            file_name=header.file_name,
            connector_name=header.connector_name if header.HasField("connector_name") else None,
            total_size=header.total_size if header.HasField("total_size") else None,
        )

    async def _receive(
        self, upload: OpenUpload, requests: AsyncIterator[upload_pb2.UploadRequest]
    ) -> UploadState:
        caller = current_principal()
        if upload.row.finished:
            return await self._uploads.get(caller, upload.row.id)
        async for request in requests:
            match request.WhichOneof("part"):
                case "chunk":
                    await self._uploads.append(upload, request.chunk.offset, request.chunk.data)
                case "finish":
                    sha256 = request.finish.sha256 if request.finish.HasField("sha256") else None
                    return await self._uploads.finish(caller, upload, sha256=sha256)
                case part:
                    raise InvalidArgument.of(part or "part", "expected a chunk or finish after the header")
        return await self._uploads.get(caller, upload.row.id)


def _read_options(request: connector_pb2.ReadDataRequest | internal_pb2.PullTableRequest) -> ReadOptions:
    return ReadOptions(
        columns=tuple(request.columns),
        max_rows=_positive(request.max_rows) if request.HasField("max_rows") else None,
        seed=request.seed if request.HasField("seed") else None,
    )


def _write_mode(request: connector_pb2.WriteDataHeader | internal_pb2.DeliverTablesRequest) -> WriteMode:
    if request.overwrite_tables and request.append_to_tables:
        raise InvalidArgument.of("append_to_tables", "cannot be given together with overwrite_tables")
    if request.overwrite_tables:
        return WriteMode.OVERWRITE
    return WriteMode.APPEND if request.append_to_tables else WriteMode.FAIL


def _pull_request(request: internal_pb2.PullTableRequest) -> PullRequest:
    within = None
    if request.HasField("within"):
        keys = request.within
        within = (keys.artifact_name, tuple(keys.columns), tuple(keys.referenced_columns))
        if request.HasField("max_rows"):
            raise InvalidArgument.of("max_rows", "cannot be given together with within: subjects stay whole")
    return PullRequest(request.location, request.artifact_name, _read_options(request), within)


def _table_request(table: internal_pb2.DeliverTable) -> TableRequest:
    keys = [
        ForeignKeyToMake(tuple(key.columns), key.referenced_table, tuple(key.referenced_columns))
        for key in table.foreign_keys
    ]
    return TableRequest(table.name, table.artifact_name, tuple(table.primary_key), tuple(keys))


def _positive(max_rows: int) -> int:
    if max_rows < 1:
        raise InvalidArgument.of("max_rows", f"must be at least 1, got {max_rows}")
    return max_rows


async def _arrow(chunks: AsyncGenerator[RowsChunk, None]) -> AsyncIterator[common_pb2.ArrowChunk]:
    async with aclosing(chunks):
        async for chunk in chunks:
            yield common_pb2.ArrowChunk(data=chunk.data, total_rows=chunk.total_rows)
