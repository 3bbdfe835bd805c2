"""One upstream watch per service, shared by all clients of this gateway.

A feed follows all jobs of one service as the service "gateway", so it sees every change in the order of the
service's revisions. `position` is the revision up to which that holds; nothing beyond it is shown to a
client, which makes positions a resume token that misses nothing.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from simulacra.errors import ResumeTokenInvalid, SimulacraError
from simulacra.logs import get_logger
from simulacra.store import decode_token
from simulacra.v1 import job_pb2 as pb

__all__ = ["ENDED", "Feed", "JobState"]

log = get_logger("simulacra.gateway")

ENDED: Final = frozenset({pb.PROGRESS_STATUS_DONE, pb.PROGRESS_STATUS_FAILED, pb.PROGRESS_STATUS_CANCELED})

_MIN_PAUSE: Final = 0.1
_MAX_PAUSE: Final = 2.0


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as it was at a revision; `field` is it as WatchJobsResponse.job, serialised once."""

    service: str
    id: str
    revision: int
    owner_id: str
    resource_id: str
    created_at: int
    kind: int
    status: int
    field: bytes

    @classmethod
    def of(cls, service: str, job: pb.Job) -> "JobState":
        """Takes what is needed of a message."""
        return cls(
            service=service,
            id=job.progress.id,
            revision=job.revision,
            owner_id=job.owner_id,
            resource_id=job.resource_uri.rpartition("/")[2],
            created_at=job.created_at.ToNanoseconds(),
            kind=job.kind,
            status=job.progress.status,
            field=pb.WatchJobsResponse(job=job).SerializeToString(),
        )

    @property
    def ended(self) -> bool:
        """Whether the job has come to its end."""
        return self.status in ENDED


class Feed:
    """Follows the jobs of one service for as long as the gateway runs.

    Args:
        service: The service's name.
        stub: Its JobService, called as the gateway itself.
        publish: Takes each new state of a job.
        changed: Told when `available` changes.
        silence: Seconds without a message after which the service counts as gone.
    """

    def __init__(
        self,
        service: str,
        stub: Any,
        *,
        publish: Callable[[JobState], None],
        changed: Callable[[str], None],
        silence: float,
    ) -> None:
        self.service = service
        self.available = False
        self.position = 0
        self._stub = stub
        self._publish = publish
        self._changed = changed
        self._silence = silence
        self._token = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to follow."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        pause = _MIN_PAUSE
        while True:
            heard = self._token
            try:
                await self._follow()
            except ResumeTokenInvalid:
                self._token = ""
            except (SimulacraError, TimeoutError) as error:
                log.info("job_feed_lost", service=self.service, error=str(error))
            self._set_available(False)
            pause = _MIN_PAUSE if heard != self._token else min(pause * 2, _MAX_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _follow(self) -> None:
        stream = self._stub.WatchJobs(pb.WatchJobsRequest(resume_token=self._token))
        answers = aiter(stream)
        try:
            while True:
                async with asyncio.timeout(self._silence):
                    answer = await anext(answers, None)
                if answer is None:  # the service stops
                    return
                self._take(answer)
        finally:
            stream.cancel()

    def _take(self, answer: pb.WatchJobsResponse) -> None:
        self._token = answer.resume_token
        (self.position,) = decode_token(answer.resume_token, int)
        if answer.HasField("job"):
            self._publish(JobState.of(self.service, answer.job))
        self._set_available(True)

    def _set_available(self, available: bool) -> None:
        if available != self.available:
            self.available = available
            log.info("service_reachable" if available else "service_unreachable", service=self.service)
            self._changed(self.service)
