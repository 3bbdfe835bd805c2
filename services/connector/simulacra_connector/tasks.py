"""What runs in a worker process: reading files from outside, where a crash or a bomb harms nobody else."""

import resource
from pathlib import Path
from typing import Any

import pyarrow as pa

from simulacra.errors import LimitExceeded
from simulacra.jobs import TaskContext, TaskProgress
from simulacra.jobs.task import Task
from simulacra_connector.formats import FileLimits, open_file
from simulacra_connector.tables import write_table

__all__ = ["MAKE_TABLE", "make_table"]

MAKE_TABLE = "simulacra_connector.tasks:make_table"
_MEMORY = 4 * 2**30


def make_table(payload: dict[str, Any], context: TaskContext) -> Task:
    """Makes the table artifact of an uploaded file: `path`, `file_name`, `artifact`, `max_expanded_bytes`."""
    _limit_memory(_MEMORY)
    file_name = payload["file_name"]
    limits = FileLimits(max_expanded_bytes=payload["max_expanded_bytes"])
    rows = 0
    try:
        content = open_file(
            Path(payload["path"]), file_name=file_name, limits=limits, scratch=context.scratch
        )
        for rows in write_table(
            context.artifacts,
            payload["artifact"],
            schema=content.schema,
            batches=content.batches,
            attributes={"file_name": file_name},
        ):
            yield TaskProgress(value=rows)
    except (MemoryError, pa.ArrowMemoryError) as error:
        raise LimitExceeded(
            f"{file_name} needs more than {_MEMORY:,} bytes of memory to unpack; split its largest values",
            file_name=file_name,
            limit=str(_MEMORY),
        ) from error
    finally:
        _limit_memory(None)
    return {"rows": rows}


def _limit_memory(size: int | None) -> None:
    """Bounds this process's memory to what it has now and `size` more; None takes the bound away."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if size is None:
        soft = hard
    else:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        soft = pages * resource.getpagesize() + size
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
