"""What every call of a server goes through: request id, metrics and logs, errors, authentication.

One interceptor wraps each method's handler once; the four streaming kinds share one scope.
"""

from __future__ import annotations  # grpc.RpcMethodHandler is generic for type checkers only

import asyncio
import inspect
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import grpc
import structlog
from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry, Counter, Histogram
from pydantic import ValidationError

from simulacra.errors import (
    Internal,
    InvalidArgument,
    MethodUnimplemented,
    ServiceUnavailable,
    SimulacraError,
    UnsignedCall,
)
from simulacra.logs import get_logger
from simulacra.rpc.auth import (
    PRINCIPAL_KEY,
    REQUEST_ID_KEY,
    Principal,
    PrincipalSigner,
    current_request_id,
    enter_call,
)
from simulacra.rpc.status import call_error, from_validation_error, to_status
from simulacra.rpc.texts import require_storable

__all__ = ["Authenticator", "CallMetrics", "Guard", "SignedCalls", "abort"]

log = get_logger("simulacra.rpc")

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

Authenticator = Callable[[Mapping[str, str | bytes]], Awaitable[Principal]]
"""Takes a call's metadata and returns who calls, or raises Unauthenticated or UnsignedCall."""


class SignedCalls:
    """The authenticator of the services: only calls with a principal that the gateway or a service signed."""

    def __init__(self, signer: PrincipalSigner) -> None:
        self._signer = signer

    async def __call__(self, metadata: Mapping[str, str | bytes]) -> Principal:
        """Returns the principal of the call."""
        token = metadata.get(PRINCIPAL_KEY)
        if not isinstance(token, str):
            raise UnsignedCall("the call carries no signed principal; call the gateway, not the service")
        return self._signer.verify(token)


class CallMetrics:
    """Counts and times the calls of one server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._handled = Counter(
            "grpc_server_handled",
            "Calls that have ended, by status.",
            ["service", "method", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "grpc_server_handling_seconds", "Duration of calls.", ["service", "method"], registry=registry
        )
        self._children: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, code: str, seconds: float) -> None:
        """Records one call; `method` is `/service/method`."""
        children = self._children.get((method, code))
        if children is None:
            _, service, name = method.split("/", 2)
            children = self._handled.labels(service, name, code), self._seconds.labels(service, name)
            self._children[method, code] = children
        children[0].inc()
        children[1].observe(seconds)


class Guard(grpc.aio.ServerInterceptor):
    """Wraps every handler: observes the call, authenticates it, and turns exceptions into rich statuses.

    `open_to_all` names the services (`package.Service`) and methods (`/package.Service/Method`) that need no
    authentication.
    """

    def __init__(
        self, *, authenticate: Authenticator, metrics: CallMetrics, open_to_all: Collection[str] = ()
    ) -> None:
        self._authenticate = authenticate
        self._metrics = metrics
        self._open_to_all = frozenset(open_to_all)
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._watches: set[asyncio.Task[Any]] = set()
        self._ending = False
        self._unknown = self._wrap(
            "/unknown/unknown", grpc.stream_stream_rpc_method_handler(_unknown_method), open_to_all=True
        )

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Returns the wrapped handler of a method; gRPC calls this for each call."""
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            return self._unknown
        names = {method, method.split("/", 2)[1]}
        self._handlers[method] = self._wrap(
            method, handler, open_to_all=not names.isdisjoint(self._open_to_all)
        )
        return self._handlers[method]

    def _wrap(
        self, method: str, handler: grpc.RpcMethodHandler[Any, Any], *, open_to_all: bool
    ) -> grpc.RpcMethodHandler[Any, Any]:
        kind = "_".join(
            "stream" if streaming else "unary"
            for streaming in (handler.request_streaming, handler.response_streaming)
        )
        inner = getattr(handler, kind)
        parsed = _parsed_stream if handler.request_streaming else _parsed

        async def unary(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with self._scope(method, context, open_to_all):
                answer = inner(parsed(request, handler.request_deserializer), context)
                return await answer if inspect.isawaitable(answer) else answer

        async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            async with self._scope(method, context, open_to_all), self._ended_with_server(method):
                answers = inner(parsed(request, handler.request_deserializer), context)
                if inspect.isawaitable(answers):  # a coroutine that writes to the context, as health's does
                    await answers
                    return
                async with aclosing(answers):
                    async for answer in answers:
                        yield answer

        wrapped: grpc.RpcMethodHandler[Any, Any] = handler._replace(  # type: ignore[attr-defined]  # a namedtuple
            request_deserializer=None,  # here, where a message that is none can be answered in our words
            **{kind: stream if handler.response_streaming else unary},
        )
        return wrapped

    def end_watches(self) -> None:
        """Ends the calls that would not end by themselves; their clients look for another server."""
        self._ending = True
        for watch in self._watches:
            watch.cancel()

    @asynccontextmanager
    async def _ended_with_server(self, method: str) -> AsyncIterator[None]:
        task = asyncio.current_task()
        if task is None or not method.rpartition("/")[2].startswith("Watch"):
            yield
            return
        self._watches.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._ending:
                raise
            task.uncancel()
            raise ServiceUnavailable("this server stops; watch again", retry_after=0.0) from None
        finally:
            self._watches.discard(task)

    @asynccontextmanager
    async def _scope(
        self, method: str, context: grpc.aio.ServicerContext[Any, Any], open_to_all: bool
    ) -> AsyncIterator[None]:
        started = time.perf_counter()
        metadata = dict(context.invocation_metadata() or ())
        request_id = str(metadata.get(REQUEST_ID_KEY, ""))
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = uuid.uuid4().hex
        enter_call(request_id=request_id)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        code = "OK"
        try:
            if not open_to_all:
                enter_call(principal=await self._authenticate(metadata))
            yield
        except grpc.aio.AbortError:  # the handler has sent a status of its own
            code = _code_name(context)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"
            raise
        except Exception as error:
            failure = _as_simulacra_error(error, method)
            code = failure.code.name
            await abort(context, failure)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.observe(method, code, seconds)
            if _calls_are_logged():
                log.debug("call_handled", method=method, code=code, seconds=round(seconds, 6))


def _parsed(raw: Any, parse: Callable[[bytes], Any] | None) -> Any:
    if parse is None:
        return raw
    try:
        message = parse(raw)
    except DecodeError as error:
        raise InvalidArgument(
            f"the {len(raw)} bytes of the request are not a message of this method; "
            "compare the client's contract with the server's by gRPC reflection"
        ) from error
    require_storable(message, raw)
    return message


async def _parsed_stream(raw: AsyncIterator[Any], parse: Callable[[bytes], Any] | None) -> AsyncIterator[Any]:
    async for message in raw:
        yield _parsed(message, parse)


def _calls_are_logged() -> bool:
    return logging.getLogger("simulacra.rpc").isEnabledFor(logging.DEBUG)


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: SimulacraError) -> None:
    """Ends a call with the status of an error."""
    status = to_status(error)
    # Not abort_with_status: tracing would record the call as successful.
    await context.abort(status.code, status.details, status.trailing_metadata)


def _as_simulacra_error(error: Exception, method: str) -> SimulacraError:
    match error:
        case SimulacraError():
            log.info("call_failed", method=method, reason=error.reason, message=error.message)
            return error
        case ValidationError():
            return from_validation_error(error)
        case grpc.aio.AioRpcError():
            return call_error(error)
        case NotImplementedError():
            text = str(error)
            if text in ("", "Method not implemented!"):
                text = "it is part of the contract and comes with a later version of this service"
            return MethodUnimplemented(
                f"{method.lstrip('/')} is not there yet: {text}", method=method.lstrip("/")
            )
        case _:
            log.exception("call_crashed", method=method)
            request_id = current_request_id() or ""
            return Internal(
                f"a fault of the service, not of the request; its log says more under request {request_id}",
                request_id=request_id,
            )


def _code_name(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"


async def _unknown_method(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
    raise MethodUnimplemented(
        "this server has no such method; compare the client's contract with the server's by gRPC reflection"
    )
    yield b""  # type: ignore[unreachable]  # makes it a stream
