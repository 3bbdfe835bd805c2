"""The gateway's own RPCs: translate, one call, translate. The base classes answer the rest: UNIMPLEMENTED."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf import empty_pb2

import simulacra
from simulacra.domain import MODELS, AboutService, ApiKey, Compute, ComputeListItem
from simulacra.rpc import current_principal
from simulacra.v1 import (
    compute_pb2,
    compute_pb2_grpc,
    platform_pb2,
    platform_pb2_grpc,
    user_pb2,
    user_pb2_grpc,
)
from simulacra.v1 import job_pb2 as pb
from simulacra.wire import timestamp_from_proto, to_proto
from simulacra_gateway.accounts import Accounts
from simulacra_gateway.board import Board
from simulacra_gateway.computes import Computes
from simulacra_gateway.jobs import Jobs
from simulacra_gateway.profile import Profiles
from simulacra_gateway.watch import Watch

__all__ = ["ComputeServicer", "JobServicer", "PlatformServicer", "UserServicer", "add_job_servicer"]


class PlatformServicer(platform_pb2_grpc.PlatformServiceServicer):
    """What the platform is."""

    async def GetAbout(
        self, request: platform_pb2.GetAboutRequest, context: Any
    ) -> platform_pb2.AboutService:
        about = AboutService(version=simulacra.__version__, assistant=False)
        return to_proto(about, platform_pb2.AboutService)

    async def ListModels(
        self, request: platform_pb2.ListModelsRequest, context: Any
    ) -> platform_pb2.ListModelsResponse:
        models = [to_proto(model, platform_pb2.ModelDescription) for model in MODELS]
        wanted = [model for model in models if request.model_type in (0, model.model_type)]
        return platform_pb2.ListModelsResponse(results=wanted)


class UserServicer(user_pb2_grpc.UserServiceServicer):
    """The caller and the caller's API keys."""

    def __init__(self, accounts: Accounts, profiles: Profiles) -> None:
        self._accounts = accounts
        self._profiles = profiles

    async def GetCurrentUser(
        self, request: user_pb2.GetCurrentUserRequest, context: Any
    ) -> user_pb2.CurrentUser:
        return to_proto(await self._profiles.current(current_principal()), user_pb2.CurrentUser)

    async def CreateApiKey(
        self, request: user_pb2.CreateApiKeyRequest, context: Any
    ) -> user_pb2.CreateApiKeyResponse:
        key, row = await self._accounts.create_key(
            current_principal(),
            request.name,
            expires_at=timestamp_from_proto(request.expires_at) if request.HasField("expires_at") else None,
            user_id=request.user_id if request.HasField("user_id") else None,
        )
        return user_pb2.CreateApiKeyResponse(api_key=_api_key(row), key=key)

    async def ListApiKeys(
        self, request: user_pb2.ListApiKeysRequest, context: Any
    ) -> user_pb2.ListApiKeysResponse:
        page = await self._accounts.keys(
            current_principal(), page_size=request.page_size, page_token=request.page_token
        )
        return user_pb2.ListApiKeysResponse(
            results=[_api_key(row) for row in page.rows],
            next_page_token=page.next_page_token,
            total_count=page.total_count,
        )

    async def RevokeApiKey(self, request: user_pb2.RevokeApiKeyRequest, context: Any) -> empty_pb2.Empty:
        await self._accounts.revoke_key(current_principal(), request.id)
        return empty_pb2.Empty()


class ComputeServicer(compute_pb2_grpc.ComputeServiceServicer):
    """The computes that the settings describe."""

    def __init__(self, computes: Computes) -> None:
        self._computes = computes

    async def GetCompute(self, request: compute_pb2.GetComputeRequest, context: Any) -> compute_pb2.Compute:
        return to_proto(await self._computes.get(request.id), compute_pb2.Compute)

    async def ListComputes(
        self, request: compute_pb2.ListComputesRequest, context: Any
    ) -> compute_pb2.ListComputesResponse:
        items = [
            to_proto(_list_item(each), compute_pb2.ComputeListItem) for each in await self._computes.all()
        ]
        return compute_pb2.ListComputesResponse(results=items, total_count=len(items))


class JobServicer:
    """The jobs of all services; WatchJobs yields messages that were serialised once for all watchers."""

    def __init__(self, jobs: Jobs, board: Board, *, heartbeat: float) -> None:
        self._jobs = jobs
        self._board = board
        self._heartbeat = heartbeat

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.Job:
        return await self._jobs.get(request)

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        return await self._jobs.page(request)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.Job:
        return await self._jobs.cancel(request)

    async def ReadJobLog(self, request: pb.ReadJobLogRequest, context: Any) -> AsyncIterator[pb.JobLogLine]:
        async with aclosing(self._jobs.log(request)) as lines:
            async for line in lines:
                yield line

    async def WatchJobs(self, request: pb.WatchJobsRequest, context: Any) -> AsyncIterator[bytes]:
        watch = Watch(self._board, self._jobs, current_principal(), request, heartbeat=self._heartbeat)
        async with aclosing(watch.messages()) as messages:
            async for message in messages:
                yield message


def add_job_servicer(servicer: JobServicer, server: Any) -> None:
    """Adds JobService as generated code would, but takes WatchJobs' messages as bytes."""
    unary: Any = grpc.unary_unary_rpc_method_handler
    stream: Any = grpc.unary_stream_rpc_method_handler
    as_bytes = pb.Job.SerializeToString
    methods = {
        "GetJob": unary(servicer.GetJob, pb.GetJobRequest.FromString, as_bytes),
        "CancelJob": unary(servicer.CancelJob, pb.CancelJobRequest.FromString, as_bytes),
        "ListJobs": unary(
            servicer.ListJobs, pb.ListJobsRequest.FromString, pb.ListJobsResponse.SerializeToString
        ),
        "ReadJobLog": stream(
            servicer.ReadJobLog, pb.ReadJobLogRequest.FromString, pb.JobLogLine.SerializeToString
        ),
        "WatchJobs": stream(servicer.WatchJobs, pb.WatchJobsRequest.FromString, None),
    }
    name = pb.DESCRIPTOR.services_by_name["JobService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))


def _api_key(row: Any) -> user_pb2.ApiKey:
    fields = ("id", "name", "prefix", "created_at", "last_used_at", "expires_at")
    return to_proto(ApiKey(**{field: row[field] for field in fields}), user_pb2.ApiKey)


def _list_item(compute: Compute) -> ComputeListItem:
    return ComputeListItem(id=compute.id, type=compute.type, name=compute.name, resources=compute.resources)
