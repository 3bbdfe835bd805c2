"""Channels to services: signed, with deadlines, retries and keepalive; failed calls raise SimulacraErrors.

A channel is opened once per target and kept. Stubs of the generated code take a `ServiceChannel` as they take
a `grpc.aio.Channel`.
"""

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import grpc

from simulacra.rpc.auth import (
    PRINCIPAL_KEY,
    REQUEST_ID_KEY,
    Principal,
    PrincipalSigner,
    current_principal,
    current_request_id,
)
from simulacra.rpc.status import call_error

__all__ = ["DEFAULT_DEADLINE", "ServiceChannel", "ServiceStream", "channel_credentials", "open_channel"]

DEFAULT_DEADLINE: Final = 10.0

# Retries are safe on UNAVAILABLE only, and gRPC makes them only before the server has begun to answer.
_SERVICE_CONFIG: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)

_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A service that restarts is found again within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


def open_channel(
    target: str,
    *,
    signer: PrincipalSigner | None = None,
    principal: Principal | None = None,
    api_key: str | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    deadline: float = DEFAULT_DEADLINE,
) -> "ServiceChannel":
    """Opens a channel to `host:port`; connecting happens with the first call.

    Args:
        target: Host and port, or any gRPC name.
        signer: Signs the principal of each call: towards a service.
        principal: Who calls; by default the principal of the call that is being handled.
        api_key: Sent as a bearer token: towards the gateway.
        credentials: Makes it a TLS channel; see `channel_credentials`.
        deadline: Seconds that a unary call may take if it does not say otherwise. Streams have none.
    """
    options = list(_OPTIONS)
    if signer is not None:
        options.append(("grpc.enable_http_proxy", 0))  # services of one platform are never behind a web proxy
    if credentials is None:
        raw = grpc.aio.insecure_channel(target, options=options)
    else:
        raw = grpc.aio.secure_channel(target, credentials, options=options)
    return ServiceChannel(raw, signer=signer, principal=principal, api_key=api_key, deadline=deadline)


def channel_credentials(
    *, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials:
    """Reads TLS files: the authority to trust (default: the system's), and a certificate for mutual TLS."""
    return grpc.ssl_channel_credentials(
        root_certificates=ca.read_bytes() if ca else None,
        private_key=key.read_bytes() if key else None,
        certificate_chain=certificate.read_bytes() if certificate else None,
    )


class ServiceChannel(grpc.aio.Channel):
    """A channel that adds identity, request id and deadline to each call and raises SimulacraErrors.

    Unary calls return a coroutine, streams a `ServiceStream`. `raw` is the plain channel.
    """

    def __init__(
        self,
        raw: grpc.aio.Channel,
        *,
        signer: PrincipalSigner | None = None,
        principal: Principal | None = None,
        api_key: str | None = None,
        deadline: float = DEFAULT_DEADLINE,
    ) -> None:
        self.raw = raw
        self._signer = signer
        self._principal = principal
        self._bearer = f"Bearer {api_key}" if api_key else None
        self._deadline = deadline

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Returns the callable of a method without streams."""
        return self._unary_response(self.raw.unary_unary(method, *args, **kwargs), self._deadline)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Returns the callable of a method that takes a stream."""
        return self._unary_response(self.raw.stream_unary(method, *args, **kwargs), None)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Returns the callable of a method that answers with a stream."""
        return self._stream_response(self.raw.unary_stream(method, *args, **kwargs))

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Returns the callable of a method that takes and answers with streams."""
        return self._stream_response(self.raw.stream_stream(method, *args, **kwargs))

    def metadata(
        self, extra: Sequence[tuple[str, str | bytes]] | None = None
    ) -> tuple[tuple[str, str | bytes], ...]:
        """Returns the metadata that a call made now carries."""
        own: list[tuple[str, str | bytes]] = []
        if self._bearer is not None:
            own.append(("authorization", self._bearer))
        if self._signer is not None:
            own.append((PRINCIPAL_KEY, self._signer.sign(self._principal or current_principal())))
        request_id = current_request_id()
        if request_id is not None:
            own.append((REQUEST_ID_KEY, request_id))
        return (*own, *(extra or ()))

    def _unary_response(self, call: Any, deadline: float | None) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def invoke(
            request: Any, *, timeout: float | None = None, metadata: Any = None, **options: Any
        ) -> Any:
            try:
                return await call(
                    request, timeout=timeout or deadline, metadata=self.metadata(metadata), **options
                )
            except grpc.aio.AioRpcError as error:
                raise call_error(error) from error

        return invoke

    def _stream_response(self, call: Any) -> Callable[..., "ServiceStream"]:
        def invoke(*request: Any, metadata: Any = None, **options: Any) -> ServiceStream:
            return ServiceStream(call(*request, metadata=self.metadata(metadata), **options))

        return invoke

    async def close(self, grace: float | None = None) -> None:
        """Ends all calls, after `grace` seconds at most, and the connection."""
        await self.raw.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Returns the state of the connection."""
        return self.raw.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns when the connection has left a state."""
        await self.raw.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Returns when the connection stands."""
        await self.raw.channel_ready()

    async def __aenter__(self) -> "ServiceChannel":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class ServiceStream:
    """The answers of a call, as an async iterator that raises SimulacraErrors; the rest is the gRPC call's.

    Leaving a stream early leaves the call open: `cancel()` ends it, and so does `async with`.
    """

    def __init__(self, call: Any) -> None:
        self.call = call

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._answers()

    async def _answers(self) -> AsyncIterator[Any]:
        try:
            async for answer in self.call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise call_error(error) from error
        finally:
            self.call.cancel()

    async def read(self) -> Any:
        """Returns the next answer, or `grpc.aio.EOF`."""
        try:
            return await self.call.read()
        except grpc.aio.AioRpcError as error:
            raise call_error(error) from error

    def cancel(self) -> bool:
        """Ends the call; the service's handler is cancelled."""
        return bool(self.call.cancel())

    async def __aenter__(self) -> "ServiceStream":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.call.cancel()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.call, name)
