"""The pass-through: calls go on to the service that owns them as raw bytes, whatever their streaming kind.

Deadline, cancellation, metadata, rich errors and backpressure stay as they are; identity is replaced. A
message is never parsed here, so a service may gain fields without the gateway being built again.
"""

from __future__ import annotations  # gRPC's classes are generic for type checkers only

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from simulacra.errors import MessageTooLarge, ServiceUnavailable
from simulacra.rpc.auth import REQUEST_ID_KEY
from simulacra.rpc.channel import ServiceChannel
from simulacra.rpc.status import call_error, has_details

__all__ = ["PassThrough"]

_STRIPPED_PREFIX: Final = "x-simulacra-"
_STRIPPED: Final = frozenset({"authorization", "user-agent", REQUEST_ID_KEY})

# The contract answers unary calls within ten seconds; this ends those whose client gave no deadline.
_UNARY_DEADLINE: Final = 30.0


class PassThrough(grpc.GenericRpcHandler):
    """Handles every method of one owner's public services by calling the owner.

    Args:
        owner: The owning service's name, for messages.
        channel: Signs the current principal and adds the request id.
        services: Descriptors of the services that the owner serves.
    """

    def __init__(self, owner: str, channel: ServiceChannel, services: Iterable[ServiceDescriptor]) -> None:
        self._owner = owner
        self._channel = channel
        self._handlers = {
            f"/{service.full_name}/{method.name}": self._handler(
                f"/{service.full_name}/{method.name}", method
            )
            for service in services
            for method in service.methods
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Returns the method's handler, or None if the method is not the owner's."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, path: str, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        raw = self._channel.raw
        match method.client_streaming, method.server_streaming:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(
                    self._unary(raw.unary_unary(path), _UNARY_DEADLINE)
                )
            case True, False:
                return grpc.stream_unary_rpc_method_handler(self._unary(raw.stream_unary(path), None))
            case False, True:
                return grpc.unary_stream_rpc_method_handler(self._stream(raw.unary_stream(path)))
            case _:
                return grpc.stream_stream_rpc_method_handler(self._stream(raw.stream_stream(path)))

    def _unary(self, upstream: Any, deadline: float | None) -> Any:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            timeout = context.time_remaining()
            call = upstream(
                request, timeout=deadline if timeout is None else timeout, metadata=self._metadata(context)
            )
            try:
                response: bytes = await call
            except grpc.aio.AioRpcError as error:
                await self._fail(error, context)
            await _pass_metadata(call, context, initial=True)
            return response

        return answer

    def _stream(self, upstream: Any) -> Any:
        async def answers(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
            call = upstream(request, timeout=context.time_remaining(), metadata=self._metadata(context))
            try:
                first = True
                async for response in call:
                    if first:
                        await _pass_metadata(call, context, initial=True, trailing=False)
                        first = False
                    yield response
                await _pass_metadata(call, context, initial=first)
            except grpc.aio.AioRpcError as error:
                await self._fail(error, context)
            finally:
                call.cancel()  # does nothing to a call that has ended

        return answers

    def _metadata(self, context: grpc.aio.ServicerContext[Any, Any]) -> tuple[tuple[str, str | bytes], ...]:
        return self._channel.metadata(
            [
                (key, value)
                for key, value in context.invocation_metadata() or ()
                if key not in _STRIPPED and not key.startswith(_STRIPPED_PREFIX)
            ]
        )

    async def _fail(
        self, error: grpc.aio.AioRpcError, context: grpc.aio.ServicerContext[Any, Any]
    ) -> NoReturn:
        trailing = tuple(error.trailing_metadata() or ())
        if not has_details(error):  # the transport's own words
            known = call_error(error)
            if isinstance(known, ServiceUnavailable):
                raise ServiceUnavailable(
                    f"the {self._owner} service does not answer just now; try again",
                    retry_after=1.0,
                    service=self._owner,
                ) from error
            if isinstance(known, MessageTooLarge):
                raise known from error
        await context.abort(error.code(), error.details() or "", trailing)


async def _pass_metadata(
    call: Any, context: grpc.aio.ServicerContext[Any, Any], *, initial: bool, trailing: bool = True
) -> None:
    if initial and (sent_first := await call.initial_metadata()):
        await context.send_initial_metadata(tuple(sent_first))
    if trailing and (sent_last := await call.trailing_metadata()):
        context.set_trailing_metadata(tuple(sent_last))
