"""The client's one door to gRPC: calls by the contract's names, messages in and out.

`AsyncTransport` speaks; `Transport` is the same without `await`, on its own loop. Neither knows the domain.
"""

import asyncio
import importlib
import pkgutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from simulacra.client._embedded import EmbeddedStack, Endpoint
from simulacra.client._portal import Portal
from simulacra.errors import InvalidArgument, ServiceUnavailable
from simulacra.rpc.channel import ServiceChannel, channel_credentials, open_channel

__all__ = ["AsyncTransport", "Transport", "method_descriptor", "request_class"]

T = TypeVar("T")

Opener = Callable[[], EmbeddedStack | Endpoint]
"""Finds out where the platform is; it may start one, so it runs in a thread."""

CALL_SECONDS = 30.0
"""The deadline of a unary call; the platform answers within 10."""

PACKAGE = "simulacra.v1"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
DEFAULT_PORT = 8400


@cache
def method_descriptor(name: str) -> MethodDescriptor:
    """Returns the contract's description of a method such as `GeneratorService.GetGenerator`.

    Raises:
        KeyError: If the contract has no such method.
    """
    _load_contract()
    service, _, method = name.partition(".")
    return descriptor_pool.Default().FindServiceByName(f"{PACKAGE}.{service}").methods_by_name[method]


@cache
def _load_contract() -> None:
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{PACKAGE}.{module.name}")


def request_class(method: str) -> type[Message]:
    """Returns the class of a method's request, or of the messages of its request stream."""
    return GetMessageClass(method_descriptor(method).input_type)


def _target(address: str) -> tuple[str, bool]:
    """Splits an address into gRPC's target and whether to use TLS: by scheme, else beyond loopback."""
    url = urlsplit(address if "//" in address else f"//{address}")
    if url.scheme not in ("", "http", "https", "grpc", "grpcs") or not url.hostname:
        raise InvalidArgument.of(
            "address", f'"{address}" is not host:port, http://host:port or https://host:port'
        )
    try:
        port = url.port
    except ValueError as error:
        raise InvalidArgument.of("address", f'"{address}" has no valid port') from error
    secure = url.scheme in ("https", "grpcs") or (not url.scheme and url.hostname not in LOOPBACK)
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{host}:{port or (443 if secure else DEFAULT_PORT)}", secure


def _credentials(ca: Path | None) -> grpc.ChannelCredentials:
    try:
        return channel_credentials(ca=ca)
    except OSError as error:
        raise InvalidArgument.of("tls_ca", f'"{ca}" cannot be read: {error.strerror}') from error


class AsyncTransport:
    """Calls the platform; the channel opens with the first call."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._opening: asyncio.Future[ServiceChannel] | None = None
        self._stack: EmbeddedStack | None = None
        self.endpoint: Endpoint | None = None

    @property
    def temporary(self) -> bool:
        """Whether the platform and its data go with this client."""
        return self._stack is not None and self._stack.temporary

    async def _channel(self) -> ServiceChannel:
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        opening = self._opening
        try:
            return await asyncio.shield(opening)
        except Exception:
            self._opening = None  # the next call tries again
            raise

    async def _open(self) -> ServiceChannel:
        found = await asyncio.to_thread(self._opener)
        if isinstance(found, EmbeddedStack):
            self._stack, self.endpoint = found, found.endpoint
        else:
            self.endpoint = found
        target, secure = _target(self.endpoint.address)
        if not (self.endpoint.api_key or "").isprintable() or not (self.endpoint.api_key or "").isascii():
            raise InvalidArgument.of("api_key", "has characters that no key has; copy it anew")
        credentials = _credentials(self.endpoint.tls_ca) if secure else None
        return open_channel(
            target, api_key=self.endpoint.api_key, credentials=credentials, deadline=CALL_SECONDS
        )

    async def unary(self, method: str, request: Message) -> Message:
        """Calls a unary method.

        Raises:
            SimulacraError: What the platform raised, as the same class.
        """
        with self._address_named():
            response: Message = await self._callable((await self._channel()).unary_unary, method)(request)
        return response

    async def stream(self, method: str, request: Message) -> AsyncGenerator[Message, None]:
        """Yields the messages of a server stream, which has no deadline; closing the iterator cancels it."""
        call = self._callable((await self._channel()).unary_stream, method)(request)
        try:
            with self._address_named():
                async for message in call:
                    yield message
        finally:
            call.cancel()

    async def send(self, method: str, requests: Iterable[Message]) -> Message:
        """Sends a stream of messages, which are made one at a time in a thread, and returns the answer."""
        with self._address_named():
            response: Message = await self._callable((await self._channel()).stream_unary, method)(
                _drawn(requests)
            )
        return response

    @contextmanager
    def _address_named(self) -> Iterator[None]:
        """Says of a connection that fails which one it is, and what to do."""
        try:
            yield
        except ServiceUnavailable as error:
            if error.metadata or self.endpoint is None:  # the gateway answers, a service behind it does not
                raise
            address = self.endpoint.address
            todo = "check the address, and that the platform runs"
            if "//" not in address and _target(address)[1]:
                todo += f"; if it is one without TLS, give http://{address}"
            raise ServiceUnavailable(
                f"the platform at {address} does not answer: {error.message}; {todo}", address=address
            ) from error

    def _callable(self, kind: Callable[..., Any], method: str) -> Any:
        described = method_descriptor(method)
        return kind(
            f"/{described.containing_service.full_name}/{described.name}",
            request_serializer=GetMessageClass(described.input_type).SerializeToString,
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs what would block the loop (files, conversions) in a thread."""
        return await asyncio.to_thread(function, *arguments)

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Closes the channel and ends the stack that this client started."""
        opening, self._opening = self._opening, None
        if opening is not None and not opening.cancelled():
            await (await opening).close()
        stack, self._stack = self._stack, None
        if stack is not None:
            await asyncio.to_thread(stack.close)


async def _drawn(messages: Iterable[Message]) -> AsyncIterator[Message]:
    iterator = iter(messages)
    while (message := await asyncio.to_thread(next, iterator, None)) is not None:
        yield message


class Transport:
    """`AsyncTransport` for code that blocks."""

    def __init__(self, opener: Opener) -> None:
        self._portal = Portal()
        self._speaker = AsyncTransport(opener)

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the platform is; None before the first call."""
        return self._speaker.endpoint

    @property
    def temporary(self) -> bool:
        """Whether the platform and its data go with this client."""
        return self._speaker.temporary

    def unary(self, method: str, request: Message) -> Message:
        """Calls a unary method."""
        return self._portal.run(self._speaker.unary(method, request))

    def stream(self, method: str, request: Message) -> Generator[Message, None, None]:
        """Yields the messages of a server stream; closing the iterator cancels it."""
        messages = self._speaker.stream(method, request)
        try:
            while (message := self._portal.run(_next(messages))) is not None:
                yield message
        finally:
            self._portal.run(_close(messages))

    def send(self, method: str, requests: Iterable[Message]) -> Message:
        """Sends a stream of messages and returns the answer."""
        return self._portal.run(self._speaker.send(method, requests))

    def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls the function: here nothing but the caller waits for it."""
        return function(*arguments)

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)

    def close(self) -> None:
        """Closes the channel, ends the stack that this client started, and the loop."""
        try:
            self._portal.run(self._speaker.close())
        finally:
            self._portal.close()


async def _next(messages: AsyncIterator[Message]) -> Message | None:
    return await anext(messages, None)


async def _close(messages: AsyncGenerator[Message, None]) -> None:
    with suppress(RuntimeError):  # an interrupted read that is slow to end still holds the iterator
        await messages.aclose()
