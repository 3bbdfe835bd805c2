# Made from simulacra/client/_aio/jobs.py by `python -m simulacra.client._unasync`; do not edit.
"""Jobs: watched over reconnects, waited for with a live display."""

from collections.abc import Generator
from contextlib import closing
from typing import Any

from simulacra.client._progress import ENDED, JobDisplay, NoDisplay, failure_of, job_display
from simulacra.client._sync.session import Session
from simulacra.client._tables import ResourceList
from simulacra.domain import Job, JobKind, JobLogLine, ProgressStatus
from simulacra.errors import JobFailed, ServiceUnavailable, WrongState
from simulacra.wire import from_proto

__all__ = ["Jobs", "wait_for", "watch_jobs"]

RECONNECT_SECONDS = 120.0
"""How long a watch outlasts a platform that does not answer."""


def watch_jobs(
    session: Session, *, job_ids: tuple[str, ...] = (), resource_ids: tuple[str, ...] = ()
) -> Generator[Job, None]:
    """Yields each state of jobs until all named ones have ended; if none is named, of all jobs, without end.

    A broken stream is taken up again with the resume token of its last message, so nothing comes twice.
    """
    token, waited, pause = "", 0.0, 0.1
    while True:
        try:
            updates = session.stream(
                "JobService.WatchJobs", job_ids=job_ids, resource_ids=resource_ids, resume_token=token
            )
            with closing(updates):
                for update in updates:
                    token, waited, pause = update.resume_token or token, 0.0, 0.1
                    if update.HasField("job"):
                        yield from_proto(update.job, Job)
            return
        except ServiceUnavailable:
            if waited > RECONNECT_SECONDS:
                raise
        session.transport.sleep(pause)
        waited, pause = waited + pause, min(5.0, pause * 2)


def wait_for(
    session: Session,
    *,
    job_ids: tuple[str, ...] = (),
    resource_ids: tuple[str, ...] = (),
    progress_bar: bool = True,
    interval: float = 2.0,
    again: str = "",
) -> Job:
    """Waits until a job has ended and returns it.

    Args:
        session: The connection.
        job_ids: The job, or
        resource_ids: the resource whose latest job it is.
        progress_bar: Whether to draw the progress.
        interval: Seconds between redraws when nothing changes.
        again: What to type to wait on, said when the wait is interrupted.

    Raises:
        JobFailed: If the job failed, with its step's message, or was canceled.
        WrongState: If the resource has no job.
    """
    display: JobDisplay = job_display(interval=interval) if progress_bar else NoDisplay()
    job: Job | None = None
    try:
        with closing(watch_jobs(session, job_ids=job_ids, resource_ids=resource_ids)) as updates:
            for job in updates:
                display.show(job)
    except KeyboardInterrupt:
        display.close()
        if not session.transport.temporary:
            _say_that_it_goes_on(job, again)
        raise
    finally:
        display.close()
    if job is None or job.progress is None:
        raise WrongState("there is no job to wait for; start it first", current_status="NEW")
    return _ended(job)


def _ended(job: Job) -> Job:
    progress = job.progress
    assert progress is not None
    job_id, status = progress.id or "", progress.status
    if status == ProgressStatus.FAILED:
        reason, step = failure_of(progress)
        code = str(step.step_code or "") if step else ""
        raise JobFailed(reason, job_id=job_id, step_code=code, status=str(status))
    if status == ProgressStatus.CANCELED:
        raise JobFailed(
            f"the job {job_id} was canceled; start it again to go on", job_id=job_id, status=str(status)
        )
    if status not in ENDED:
        raise ServiceUnavailable(
            f"the platform ended the watch of job {job_id}, which is {status}; wait again"
        )
    return job


def _say_that_it_goes_on(job: Job | None, again: str) -> None:
    from rich.console import Console

    job_id = (job and job.progress and job.progress.id) or ""
    ways = " or ".join(f"`{way}`" for way in (again, f"simulacra watch {job_id}" if job_id else "") if way)
    Console(stderr=True).print(
        f"Stopped waiting; the job goes on. Watch it with {ways}.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


class Jobs:
    """The jobs that the caller may see: trainings, generations, evaluations."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, job_id: str) -> Job:
        """Returns one job."""
        return self._session.call("JobService.GetJob", Job, id=job_id)

    def list(
        self,
        *,
        statuses: tuple[str, ...] = (),
        kinds: tuple[str, ...] = (),
        resource_ids: tuple[str, ...] = (),
        limit: int | None = None,
    ) -> ResourceList[Job]:
        """Returns jobs, newest first; all of them unless `limit` is given."""
        return self._session.pages(
            "JobService.ListJobs", Job, limit=limit, statuses=statuses, kinds=kinds, resource_ids=resource_ids
        )

    def cancel(self, job_id: str) -> Job:
        """Asks a job to stop and returns it; it ends CANCELED within seconds."""
        return self._session.call("JobService.CancelJob", Job, id=job_id)

    def delete(self, job_id: str) -> Job | None:
        """Does away with a job: one that has not ended is canceled and returned, an evaluation is deleted.

        Raises:
            WrongState: If it is an ended training or generation: that is part of its resource, whose history
                it is, and goes with it.
        """
        job = self.get(job_id)
        if job.status not in ENDED:
            return self.cancel(job_id)
        if job.kind == JobKind.EVALUATION:
            self._session.do("QaService.DeleteEvaluation", job_id=job_id)
            return None
        raise WrongState(
            f'the job {job_id} is {job.status} and part of {job.resource_uri}, "{job.resource_name}"; '
            "it is deleted with that",
            current_status=str(job.status),
        )

    def watch(self, *job_ids: str, resource_ids: tuple[str, ...] = ()) -> Generator[Job, None]:
        """Yields each state of jobs until all named ones have ended; of all unended jobs if none is named."""
        return watch_jobs(self._session, job_ids=job_ids, resource_ids=resource_ids)

    def wait(self, job_id: str, *, progress_bar: bool = True, interval: float = 2.0) -> Job:
        """Waits until a job has ended and returns it.

        Raises:
            JobFailed: If it failed or was canceled.
        """
        again = f'client.jobs.wait("{job_id}")'
        return wait_for(
            self._session, job_ids=(job_id,), progress_bar=progress_bar, interval=interval, again=again
        )

    def log(
        self, job_id: str, *, step_id: str | None = None, follow: bool = False
    ) -> Generator[JobLogLine, None]:
        """Yields the lines of a job's log; with `follow`, until the job has ended."""
        lines: Any = self._session.stream("JobService.ReadJobLog", id=job_id, step_id=step_id, follow=follow)
        with closing(lines):
            for line in lines:
                yield from_proto(line, JobLogLine)
