"""`simulacra watch`: jobs drawn while they run."""

import re
from typing import TYPE_CHECKING

from simulacra.cli.output import note, print_json

if TYPE_CHECKING:
    from simulacra.client import Simulacra
    from simulacra.domain import Job

__all__ = ["run"]


def run(simulacra: "Simulacra", ids: tuple[str, ...], *, as_json: bool) -> bool:
    """Watches jobs, by their own id or by that of their resource; returns whether all that ended are DONE."""
    from simulacra.client._progress import job_display

    job_ids, resource_ids = _told_apart(simulacra, ids)
    last: dict[str, Job] = {}
    display = None if as_json else job_display()
    if not ids and not as_json:
        note("Watching all jobs that have not ended; Ctrl-C stops watching, not the jobs.")
    try:
        for job in simulacra.jobs.watch(*job_ids, resource_ids=resource_ids):
            last[(job.progress and job.progress.id) or ""] = job
            if display:
                display.show(job)
            else:
                print_json(job)
    finally:
        if display:
            display.close()
    return all(
        job.progress is not None and job.progress.status not in ("FAILED", "CANCELED")
        for job in last.values()
    )


def _told_apart(simulacra: "Simulacra", ids: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Splits ids into those of jobs and those of resources (`generators/ID` or a bare id)."""
    from simulacra.errors import JobNotFound, ResourceNotFound

    jobs, resources = [], []
    for given in ids:
        bare = re.sub(r"^[a-z_-]+/", "", given)
        if bare != given and not given.startswith("jobs/"):
            resources.append(bare)
            continue
        try:
            simulacra.jobs.get(bare)
        except (JobNotFound, ResourceNotFound):
            if not simulacra.jobs.list(resource_ids=(bare,), limit=1):
                raise JobNotFound(
                    f'"{given}" is neither a job nor a resource that has one', id=given
                ) from None
            resources.append(bare)
        else:
            jobs.append(bare)
    return tuple(jobs), tuple(resources)
