"""Calls in the domain's types: one general way for every method of the contract."""

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, TypeVar, cast

from google.protobuf.message import Message
from pydantic import PrivateAttr

from simulacra.client._requests import request
from simulacra.client._tables import ResourceList, Shown
from simulacra.client._transport import AsyncTransport
from simulacra.domain.base import Model
from simulacra.errors import InvalidArgument
from simulacra.wire import from_proto

__all__ = ["AsyncBound", "AsyncSession"]

M = TypeVar("M", bound=Model)
PAGE_SIZE = 200


class AsyncBound(Shown):
    """Mixed into the classes of resources: they know the session that they came from."""

    _session: "AsyncSession" = PrivateAttr()


class AsyncSession:
    """A connection to a platform, as the resources use it."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.transport = transport

    def bind(self, message: Message, cls: type[M]) -> M:
        """Returns a message as an object of a domain class, bound to this session if it has methods."""
        found: Any = from_proto(message, cls)
        if isinstance(found, AsyncBound):
            found._session = self
        return cast(M, found)

    async def call(self, method: str, into: type[M], /, **fields: Any) -> M:
        """Calls a unary method and returns its answer."""
        return self.bind(await self.transport.unary(method, request(method, fields)), into)

    async def do(self, method: str, /, **fields: Any) -> Message:
        """Calls a unary method and returns its answer as it came; most answer with nothing."""
        return await self.transport.unary(method, request(method, fields))

    async def send(self, method: str, into: type[M], messages: Iterable[Message], /) -> M:
        """Sends a stream of messages and returns the answer."""
        return self.bind(await self.transport.send(method, messages), into)

    async def pages(
        self, method: str, into: type[M], /, *, limit: int | None = None, **fields: Any
    ) -> ResourceList[M]:
        """Returns the items of a listing, page by page up to `limit`."""
        if limit is not None and limit < 0:
            raise InvalidArgument.of("limit", f"must be 0 or more, got {limit}")
        items: list[M] = []
        token, total = "", 0
        while True:
            size = PAGE_SIZE if limit is None else min(PAGE_SIZE, max(1, limit - len(items)))
            page: Any = await self.do(method, page_size=size, page_token=token, **fields)
            items.extend(self.bind(item, into) for item in page.results)
            token, total = page.next_page_token, page.total_count
            if not token or (limit is not None and len(items) >= limit):
                return ResourceList(items[:limit], total_count=total)

    def stream(self, method: str, /, **fields: Any) -> AsyncGenerator[Any, None]:
        """Yields the messages of a server stream; closing it cancels the call."""
        return self.transport.stream(method, request(method, fields))

    async def in_thread(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Runs what would block."""
        return await self.transport.in_thread(function, *arguments)

    async def replace(self, resource: Any, method: str, /, **fields: Any) -> None:
        """Calls a method that answers with a resource, and gives its values to the object that is there."""
        identity = {} if "generator_id" in fields else {"id": resource.id}
        fresh = await self.call(method, type(resource), **identity, **fields)
        resource.__dict__.update(fresh.__dict__)
        resource.__pydantic_fields_set__.update(fresh.__pydantic_fields_set__)
