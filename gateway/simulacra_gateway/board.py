"""The newest known state of the jobs of all services, and who wants to hear of changes."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from simulacra.rpc import Principal
from simulacra_gateway.feed import Feed, JobState

__all__ = ["Board", "Listener", "may_see"]

_ENDED_KEPT: Final = 2_000


class Listener(Protocol):
    """A client's watch."""

    def offer(self, state: JobState) -> None:
        """Takes a change of a job that the listener subscribed to."""

    def service_changed(self, service: str) -> None:
        """Takes that a service can, or can no longer, be reached."""


class Board:
    """Joins the feeds of all services and hands each change to those who wait for it.

    It remembers every job that has not ended, and the ones that ended last.
    """

    def __init__(self, stubs: Mapping[str, Any], *, silence: float) -> None:
        self.feeds = {
            service: Feed(service, stub, publish=self.publish, changed=self._service_changed, silence=silence)
            for service, stub in stubs.items()
        }
        self._unended: dict[str, JobState] = {}
        self._ended: OrderedDict[str, JobState] = OrderedDict()
        self._listeners: set[Listener] = set()
        self._topics: dict[tuple[str, str], set[Listener]] = {}

    def start(self) -> None:
        """Begins to follow all services."""
        for feed in self.feeds.values():
            feed.start()

    async def stop(self) -> None:
        """Ends following."""
        for feed in self.feeds.values():
            await feed.stop()

    def state(self, job_id: str) -> JobState | None:
        """Returns the newest known state of a job."""
        return self._unended.get(job_id) or self._ended.get(job_id)

    def unended(self, service: str | None = None) -> Iterator[JobState]:
        """Yields the jobs, of one service or of all, that have not ended."""
        for state in self._unended.values():
            if service in (None, state.service):
                yield state

    def unended_of_resource(self, resource_id: str) -> JobState | None:
        """Returns the job that works on a resource just now."""
        return next((state for state in self.unended() if state.resource_id == resource_id), None)

    @property
    def unavailable(self) -> tuple[str, ...]:
        """The services that cannot be reached just now."""
        return tuple(sorted(service for service, feed in self.feeds.items() if not feed.available))

    def publish(self, state: JobState) -> None:
        """Takes a state from a feed; an older one than is known changes nothing."""
        known = self.state(state.id)
        if known is not None and known.revision >= state.revision:
            return
        self._unended.pop(state.id, None)
        self._ended.pop(state.id, None)
        if state.ended:
            self._ended[state.id] = state
            if len(self._ended) > _ENDED_KEPT:
                self._ended.popitem(last=False)
        else:
            self._unended[state.id] = state
        interested: set[Listener] = set()
        for topic in (
            ("job", state.id),
            ("resource", state.resource_id),
            ("owner", state.owner_id),
            ("all", ""),
        ):
            interested |= self._topics.get(topic, set())
        for listener in interested:
            listener.offer(state)

    def subscribe(self, listener: Listener, topics: Iterable[tuple[str, str]]) -> Callable[[], None]:
        """Hands a listener the changes of topics, `(job|resource|owner|all, id)`; the result ends that."""
        subscribed = list(topics)
        self._listeners.add(listener)
        for topic in subscribed:
            self._topics.setdefault(topic, set()).add(listener)

        def unsubscribe() -> None:
            self._listeners.discard(listener)
            for topic in subscribed:
                members = self._topics[topic]
                members.discard(listener)
                if not members:
                    del self._topics[topic]

        return unsubscribe

    def _service_changed(self, service: str) -> None:
        for listener in list(self._listeners):
            listener.service_changed(service)


def may_see(principal: Principal, state: JobState) -> bool:
    """Tells whether a job is the caller's own; shared ones are for the owning service to tell."""
    return principal.service is not None or state.owner_id == principal.user_id
