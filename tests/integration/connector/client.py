"""What tests send to the connector service: its stubs, and the few calls that take more than a line."""

import hashlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pyarrow as pa
from google.protobuf import struct_pb2

from simulacra.rpc import ServiceChannel
from simulacra.v1 import (
    common_pb2,
    connector_pb2,
    connector_pb2_grpc,
    internal_pb2,
    internal_pb2_grpc,
    upload_pb2,
    upload_pb2_grpc,
)

CHUNK = 1 << 20


class Client:
    """One user's stubs."""

    def __init__(self, channel: ServiceChannel) -> None:
        self.connectors = connector_pb2_grpc.ConnectorServiceStub(channel)
        self.uploads = upload_pb2_grpc.UploadServiceStub(channel)
        self.internal = internal_pb2_grpc.ConnectorInternalServiceStub(channel)

    async def create(self, config: dict[str, Any], **fields: Any) -> connector_pb2.Connector:
        type = fields.pop("type", connector_pb2.CONNECTOR_TYPE_POSTGRES)
        request = {name: fields.pop(name) for name in ("request_id", "test_connection") if name in fields}
        message = connector_pb2.ConnectorConfig(type=type, config=struct(config), **fields)
        return await self.connectors.CreateConnector(
            connector_pb2.CreateConnectorRequest(config=message, **request)
        )

    async def upload(
        self, data: bytes, file_name: str, *, upload_id: str = "", finish: bool = True, **header: Any
    ) -> upload_pb2.Upload:
        """Sends a whole file."""
        upload_id = upload_id or str(uuid.uuid4())
        messages = upload_messages(data, file_name, upload_id=upload_id, finish=finish, **header)
        return await self.uploads.Upload(messages, timeout=60)

    async def read(self, id: str, location: str = "", **options: Any) -> pa.Table:
        request = connector_pb2.ReadDataRequest(id=id, location=location, **options)
        return await table_of(self.connectors.ReadData(request))

    async def query(self, id: str, sql: str, **options: Any) -> pa.Table:
        return await table_of(self.connectors.Query(connector_pb2.QueryRequest(id=id, sql=sql, **options)))

    async def pull(self, id: str, artifact: str, location: str = "", **options: Any) -> list[Any]:
        request = internal_pb2.PullTableRequest(
            connector_id=id, location=location, artifact_name=artifact, **options
        )
        return [event async for event in self.internal.PullTable(request)]


async def upload_messages(
    data: bytes,
    file_name: str,
    *,
    upload_id: str,
    start: int = 0,
    finish: bool = True,
    sha256: str | None = None,
    **header: Any,
) -> AsyncIterator[upload_pb2.UploadRequest]:
    """The messages of an upload from `start` on."""
    yield upload_pb2.UploadRequest(
        header=upload_pb2.UploadHeader(upload_id=upload_id, file_name=file_name, **header)
    )
    for offset in range(start, len(data), CHUNK):
        chunk = common_pb2.Chunk(offset=offset, data=data[offset : offset + CHUNK])
        yield upload_pb2.UploadRequest(chunk=chunk)
    if finish:
        digest = sha256 or hashlib.sha256(data).hexdigest()
        yield upload_pb2.UploadRequest(finish=upload_pb2.UploadFinish(sha256=digest))


async def table_of(chunks: Any) -> pa.Table:
    """Joins an Arrow stream's chunks; none may be larger than a megabyte."""
    parts = [chunk.data async for chunk in chunks]
    assert all(len(part) <= CHUNK for part in parts)
    return pa.ipc.open_stream(b"".join(parts)).read_all()


def struct(values: dict[str, Any]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(values)
    return message
