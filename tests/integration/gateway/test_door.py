"""The public door: keys, pass-through, what is not routed, users, computes, the platform itself."""

import stat
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from simulacra.errors import (
    InvalidArgument,
    MethodUnimplemented,
    ResourceNotFound,
    ServiceUnavailable,
    StorageFull,
    Unauthenticated,
)
from simulacra.rpc import Principal, PrincipalSigner, ServiceChannel, open_channel
from simulacra.v1 import (
    compute_pb2,
    compute_pb2_grpc,
    connector_pb2,
    connector_pb2_grpc,
    notification_pb2,
    notification_pb2_grpc,
    platform_pb2,
    platform_pb2_grpc,
    qa_pb2,
    qa_pb2_grpc,
    user_pb2,
    user_pb2_grpc,
)
from simulacra_gateway.app import Gateway, create
from tests.integration.gateway.upstream import KEY, Upstream

GET = connector_pb2.GetConnectorRequest(id="c-1")


async def call(gateway: Gateway, key: str | None) -> connector_pb2.Connector:
    async with open_channel(f"127.0.0.1:{gateway.port}", api_key=key) as channel:
        return await connector_pb2_grpc.ConnectorServiceStub(channel).GetConnector(GET)


async def me(channel: ServiceChannel) -> user_pb2.CurrentUser:
    return await user_pb2_grpc.UserServiceStub(channel).GetCurrentUser(user_pb2.GetCurrentUserRequest())


async def test_a_call_passes_to_the_owner_as_the_key_s_user(client: ServiceChannel) -> None:
    connector = await connector_pb2_grpc.ConnectorServiceStub(client).GetConnector(GET)
    assert connector.id == "c-1"
    assert connector.name == f"{(await me(client)).id} Admin None"


async def test_a_rich_error_passes(client: ServiceChannel) -> None:
    stub = connector_pb2_grpc.ConnectorServiceStub(client)
    with pytest.raises(StorageFull, match="no space left"):
        await stub.GetConnector(connector_pb2.GetConnectorRequest(id="full"))


@pytest.mark.parametrize("key", [None, "wrong", "sim_" + "x" * 43])
async def test_without_a_valid_key_nobody_comes_in(gateway: Gateway, key: str | None) -> None:
    with pytest.raises(Unauthenticated):
        await call(gateway, key)


async def test_a_forged_principal_opens_nothing(gateway: Gateway, client: ServiceChannel) -> None:
    forged = PrincipalSigner(KEY.encode()).sign(Principal("7", "Eve", is_admin=True))
    metadata = (("x-simulacra-principal", forged),)
    async with open_channel(f"127.0.0.1:{gateway.port}") as channel:
        with pytest.raises(Unauthenticated):
            await connector_pb2_grpc.ConnectorServiceStub(channel).GetConnector(GET, metadata=metadata)
    answer = await connector_pb2_grpc.ConnectorServiceStub(client).GetConnector(GET, metadata=metadata)
    assert "Eve" not in answer.name


async def test_internal_services_are_not_routed(client: ServiceChannel) -> None:
    for method in ("ConnectorInternalService/StoreTableData", "TrainerInternalService/GetBundles"):
        with pytest.raises(MethodUnimplemented):
            await client.unary_unary(f"/simulacra.v1.{method}")(b"")


async def test_a_service_that_is_not_configured_or_away_is_named(
    client: ServiceChannel, connector: Upstream
) -> None:
    with pytest.raises(MethodUnimplemented):
        await qa_pb2_grpc.QaServiceStub(client).Evaluate(qa_pb2.EvaluateRequest())
    await connector.stop()
    with pytest.raises(ServiceUnavailable) as caught:
        await connector_pb2_grpc.ConnectorServiceStub(client).GetConnector(GET)
    assert caught.value.metadata == {"service": "connector"}


async def test_about_needs_no_key_and_the_rest_of_the_service_does(gateway: Gateway) -> None:
    async with open_channel(f"127.0.0.1:{gateway.port}") as channel:
        stub = platform_pb2_grpc.PlatformServiceStub(channel)
        assert (await stub.GetAbout(platform_pb2.GetAboutRequest())).version
        with pytest.raises(Unauthenticated):
            await stub.ListModels(platform_pb2.ListModelsRequest())


async def test_models_name_a_default_for_each_type(client: ServiceChannel) -> None:
    models = await platform_pb2_grpc.PlatformServiceStub(client).ListModels(platform_pb2.ListModelsRequest())
    assert [model.is_default for model in models.results] == [True]


async def test_there_is_a_local_and_a_ray_compute(client: ServiceChannel) -> None:
    stub = compute_pb2_grpc.ComputeServiceStub(client)
    page = await stub.ListComputes(compute_pb2.ListComputesRequest())
    assert [item.type for item in page.results] == [
        compute_pb2.COMPUTE_TYPE_LOCAL,
        compute_pb2.COMPUTE_TYPE_RAY,
    ]
    compute = await stub.GetCompute(compute_pb2.GetComputeRequest(id=page.results[0].id))
    assert compute.resources.cpus >= 1
    with pytest.raises(ResourceNotFound):
        await stub.GetCompute(compute_pb2.GetComputeRequest(id="nothing"))
    with pytest.raises(MethodUnimplemented):
        await stub.DeleteCompute(compute_pb2.DeleteComputeRequest(id=compute.id))


async def test_what_comes_later_says_so(client: ServiceChannel) -> None:
    stub = notification_pb2_grpc.NotificationServiceStub(client)
    with pytest.raises(MethodUnimplemented, match="comes with a later version"):
        await stub.ListNotifications(notification_pb2.ListNotificationsRequest())


async def test_keys_are_made_listed_and_revoked(gateway: Gateway, client: ServiceChannel) -> None:
    stub = user_pb2_grpc.UserServiceStub(client)
    made = await stub.CreateApiKey(user_pb2.CreateApiKeyRequest(name="laptop"))
    assert made.key.startswith(made.api_key.prefix)
    assert (await call(gateway, made.key)).id == "c-1"
    listed = await stub.ListApiKeys(user_pb2.ListApiKeysRequest())
    assert {key.name for key in listed.results} == {"first key", "laptop"}
    await stub.RevokeApiKey(user_pb2.RevokeApiKeyRequest(id=made.api_key.id))
    with pytest.raises(Unauthenticated):
        await call(gateway, made.key)
    with pytest.raises(ResourceNotFound):
        await stub.RevokeApiKey(user_pb2.RevokeApiKeyRequest(id=made.api_key.id))


async def test_a_key_expires_while_it_is_cached(settings: Any) -> None:
    now = datetime.now(UTC)
    gateway = await create(settings())
    gateway.accounts._clock = lambda: now
    await gateway.start()
    try:
        async with open_channel(f"127.0.0.1:{gateway.port}", api_key="the administrator's key") as channel:
            stub = user_pb2_grpc.UserServiceStub(channel)
            request = user_pb2.CreateApiKeyRequest(name="short")
            request.expires_at.FromDatetime(now + timedelta(hours=1))
            key = (await stub.CreateApiKey(request)).key
            request.expires_at.FromDatetime(now)
            with pytest.raises(InvalidArgument, match="future"):
                await stub.CreateApiKey(request)
        await call(gateway, key)
        now += timedelta(hours=1)
        with pytest.raises(Unauthenticated, match="expired"):
            await call(gateway, key)
    finally:
        await gateway.stop()


async def test_another_gateway_s_revocation_is_noticed(
    settings: Any, gateway: Gateway, client: ServiceChannel
) -> None:
    other = await create(settings(key_cache_seconds=0))
    await other.start()
    try:
        stub = user_pb2_grpc.UserServiceStub(client)
        made = await stub.CreateApiKey(user_pb2.CreateApiKeyRequest(name="laptop"))
        await call(other, made.key)
        await stub.RevokeApiKey(user_pb2.RevokeApiKeyRequest(id=made.api_key.id))
        with pytest.raises(Unauthenticated):
            await call(other, made.key)
    finally:
        await other.stop()


async def test_the_first_key_is_written_for_its_owner_only_and_only_once(settings: Any) -> None:
    plain = settings(bootstrap_api_key=None)
    for _ in range(2):
        gateway = await create(plain)
        await gateway.start()
        try:
            file = plain.data_dir / "api_key"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert (await call(gateway, file.read_text().strip())).id == "c-1"
        finally:
            await gateway.stop()
    database = (plain.data_dir / "gateway.db").read_bytes()
    assert file.read_text().strip().encode() not in database


async def test_reflection_describes_the_services_behind_the_door(gateway: Gateway) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        call = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        answer = await anext(aiter(call))
    names = {service.name for service in answer.list_services_response.service}
    assert {"simulacra.v1.GeneratorService", "simulacra.v1.JobService", "simulacra.v1.UserService"} <= names
    assert not any("Internal" in name for name in names)
