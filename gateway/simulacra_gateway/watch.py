"""A client's watch on jobs of all services: a snapshot, changes, heartbeats; in each message a resume token.

For each service a watch keeps a *lane*. Changes come from the feed in the order of the service's revisions
and leave in that order, so one number per lane says what the client has seen: everything up to its `floor`.
A job that changes faster than the client reads is sent as it is last.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncGenerator, Iterator
from itertools import pairwise

from simulacra.errors import InvalidArgument, JobNotFound, ResumeTokenInvalid, SimulacraError
from simulacra.rpc import Principal
from simulacra.store import decode_token, encode_token
from simulacra.v1 import job_pb2 as pb
from simulacra_gateway.board import Board, may_see
from simulacra_gateway.feed import JobState
from simulacra_gateway.jobs import Jobs, is_unavailable

__all__ = ["Watch"]

_MOST_NAMES = 1_000
_RETRY_PAUSE = 0.5


class _Lane:
    """What one watch has sent, and is about to send, of one service's jobs.

    Until it has caught up, nothing is sent: older changes than those that come live may still be found.
    """

    def __init__(self, floor: int | None) -> None:
        self.resumed = floor is not None
        self.floor = floor or 0
        self.caught_up = False
        self.pending: dict[str, JobState] = {}

    def offer(self, state: JobState) -> None:
        """Takes a state to send, unless it or a newer one was sent or is pending."""
        waiting = self.pending.get(state.id)
        if state.revision > max(self.floor, waiting.revision if waiting is not None else 0):
            self.pending[state.id] = state

    def take(self, position: int) -> Iterator[JobState]:
        """Yields what may be sent: the pending states up to the feed's position, in order.

        With each, the floor rises to just below the next. What comes meanwhile is above `position`.
        """
        if not self.caught_up:
            return
        ready = [state for state in self.pending.values() if state.revision <= position]
        ready.sort(key=lambda state: state.revision)
        for state, following in pairwise([*ready, None]):
            assert state is not None
            if self.pending.get(state.id) is state:  # else it changed while others were sent
                del self.pending[state.id]
                self.floor = following.revision - 1 if following is not None else position
                yield state
        self.floor = max(self.floor, position)


class Watch:
    """Serves one WatchJobs call.

    Args:
        board: The states of all jobs, and changes.
        jobs: Finds what the board does not know.
        principal: Whose watch it is.
        request: What to watch.
        heartbeat: The longest silence in seconds.
    """

    def __init__(
        self,
        board: Board,
        jobs: Jobs,
        principal: Principal,
        request: pb.WatchJobsRequest,
        *,
        heartbeat: float,
    ) -> None:
        self._board = board
        self._jobs = jobs
        self._principal = principal
        self._heartbeat = heartbeat
        self._job_ids = list(dict.fromkeys(request.job_ids))
        self._resource_ids = list(dict.fromkeys(request.resource_ids))
        if len(self._job_ids) + len(self._resource_ids) > _MOST_NAMES:
            raise InvalidArgument.of("job_ids", f"at most {_MOST_NAMES} jobs and resources can be named")
        floors = _floors(request.resume_token)
        self._lanes = {service: _Lane(floors.get(service)) for service in board.feeds}
        self._latest: dict[str, JobState] = {}  # of each job and resource that is named, by its id
        self._allowed: set[str] = set()
        self._wake = asyncio.Event()
        self._reported: tuple[str, ...] | None = None
        self._error: BaseException | None = None
        self._context = contextvars.copy_context()
        self._catching_up: dict[str, asyncio.Task[None]] = {}

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yields serialised WatchJobsResponses until all named jobs have ended.

        Raises:
            JobNotFound: If a named job, or a job of a named resource, is nowhere to be seen.
        """
        unsubscribe = self._board.subscribe(self, self._topics())
        try:
            for service in self._lanes:
                self.service_changed(service)
            while True:
                self._wake.clear()
                for message in self._due():
                    yield message
                if self._error is not None:
                    raise self._error
                if self._finished():
                    return
                if self._settled() and self._reported != self._board.unavailable:
                    yield self._message(b"")
                try:
                    async with asyncio.timeout(self._heartbeat):
                        await self._wake.wait()
                except TimeoutError:
                    yield self._message(b"")
        finally:
            unsubscribe()
            for task in list(self._catching_up.values()):
                task.cancel()

    def offer(self, state: JobState) -> None:
        """Takes a change from the board."""
        if may_see(self._principal, state) or state.id in self._allowed:
            self._note(state)

    def service_changed(self, service: str) -> None:
        """Takes that a service can be reached, or not any more."""
        lane = self._lanes[service]
        if self._board.feeds[service].available and not lane.caught_up and service not in self._catching_up:
            # The board calls this from a feed, whose context knows nothing of our caller.
            task = asyncio.create_task(self._catch_up(service), context=self._context)
            self._catching_up[service] = task
            task.add_done_callback(lambda task: self._caught_up(service, task))
        self._wake.set()

    @property
    def _named(self) -> bool:
        return bool(self._job_ids or self._resource_ids)

    def _topics(self) -> list[tuple[str, str]]:
        if self._named:
            return [
                *(("job", id_) for id_ in self._job_ids),
                *(("resource", id_) for id_ in self._resource_ids),
            ]
        return [("all", "") if self._principal.service else ("owner", self._principal.user_id)]

    def _due(self) -> Iterator[bytes]:
        for service, lane in self._lanes.items():
            for state in lane.take(self._board.feeds[service].position):
                yield self._message(state.field)

    def _message(self, field: bytes) -> bytes:
        self._reported = self._board.unavailable
        floors = {
            service: lane.floor for service, lane in self._lanes.items() if lane.caught_up or lane.resumed
        }
        rest = pb.WatchJobsResponse(resume_token=encode_token(floors), unavailable_services=self._reported)
        return field + rest.SerializeToString()  # concatenated messages merge

    def _settled(self) -> bool:
        """Whether everything that can be known now has been looked up."""
        return not self._catching_up

    def _finished(self) -> bool:
        if not self._named or any(lane.pending for lane in self._lanes.values()):
            return False
        targets = (*self._job_ids, *self._resource_ids)
        return all((state := self._latest.get(target)) is not None and state.ended for target in targets)

    def _note(self, state: JobState) -> None:
        if self._named:
            latest = self._latest.get(state.resource_id)
            is_latest = latest is None or latest.id == state.id or latest.created_at < state.created_at
            if state.resource_id in self._resource_ids and is_latest:
                self._latest[state.resource_id] = _newer(latest, state)
            elif state.id not in self._job_ids:
                return
            self._latest[state.id] = _newer(self._latest.get(state.id), state)
        self._lanes[state.service].offer(state)
        self._wake.set()

    async def _catch_up(self, service: str) -> None:
        lane = self._lanes[service]
        while self._board.feeds[service].available:
            try:
                if self._named:
                    await self._find_named(service)
                elif lane.resumed:
                    await self._find_changed(service, lane.floor)
                else:
                    for state in list(self._board.unended(service)):
                        self.offer(state)
            except SimulacraError as error:
                if not is_unavailable(error):
                    raise
                await asyncio.sleep(_RETRY_PAUSE)
            else:
                lane.caught_up = True
                return

    def _caught_up(self, service: str, task: asyncio.Task[None]) -> None:
        del self._catching_up[service]
        if not task.cancelled() and task.exception() is not None:
            self._error = task.exception()
        elif all(lane.caught_up for lane in self._lanes.values()):
            self._refuse_missing()
        self._wake.set()

    async def _find_named(self, service: str) -> None:
        for job_id in self._job_ids:
            known = self._board.state(job_id)
            if known is not None and may_see(self._principal, known):
                self._note(known)
            elif job_id not in self._latest:
                with contextlib.suppress(JobNotFound):
                    job = await self._jobs.stubs[service].GetJob(pb.GetJobRequest(id=job_id))
                    self._note_found(service, job)
        for resource_id in self._resource_ids:
            known = self._board.unended_of_resource(resource_id)
            if known is not None and may_see(self._principal, known):
                self._note(known)
            else:
                request = pb.ListJobsRequest(resource_ids=[resource_id], page_size=1)
                for job in (await self._jobs.stubs[service].ListJobs(request)).results:
                    self._note_found(service, job)

    async def _find_changed(self, service: str, floor: int) -> None:
        request = pb.ListJobsRequest(after_revision=floor, page_size=_MOST_NAMES)
        while True:
            page = await self._jobs.stubs[service].ListJobs(request)
            for job in page.results:
                self._note_found(service, job)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _note_found(self, service: str, job: pb.Job) -> None:
        state = JobState.of(service, job)
        self._allowed.add(state.id)
        self._note(state)
        newest = self._board.state(state.id)  # it may have changed meanwhile
        if newest is not None:
            self._note(newest)

    def _refuse_missing(self) -> None:
        missing = [id_ for id_ in self._job_ids if id_ not in self._latest]
        without_job = [id_ for id_ in self._resource_ids if id_ not in self._latest]
        if missing:
            self._error = JobNotFound(f"there is no job {missing[0]!r}", id=missing[0])
        elif without_job:
            self._error = JobNotFound(
                f"no job has been started on resource {without_job[0]!r}", resource_id=without_job[0]
            )


def _floors(token: str) -> dict[str, int]:
    if not token:
        return {}
    (floors,) = decode_token(token, dict)
    if not all(isinstance(floor, int) for floor in floors.values()):
        raise ResumeTokenInvalid("the resume token was not made by this platform; start without one")
    return dict(floors)


def _newer(known: JobState | None, state: JobState) -> JobState:
    if known is None or known.id != state.id or known.revision < state.revision:
        return state
    return known
