"""What the end-to-end tests do over and over: a table to learn from, a training that is under way."""

import asyncio
import contextlib

import numpy as np
import pandas as pd

from simulacra.client import AsyncGenerator, AsyncSimulacra
from simulacra.domain import Job, ProgressStatus, ProgressStep, StepCode

__all__ = ["people", "step_of", "training_under_way", "until"]

ENDED = (ProgressStatus.DONE, ProgressStatus.FAILED, ProgressStatus.CANCELED)


def people(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Rows of made-up people with dependent columns of several types."""
    draw = np.random.default_rng(seed)
    age = draw.integers(18, 91, rows)
    return pd.DataFrame(
        {
            "age": age,
            "city": draw.choice(["Graz", "Linz", "Wien"], rows, p=[0.2, 0.3, 0.5]),
            "income": (age * 700 + draw.normal(0, 4000, rows)).round(2),
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 2000, rows), unit="D"),
            "member": draw.random(rows) < age / 120,
        }
    )


def step_of(job: Job, code: StepCode) -> ProgressStep:
    """The job's first step with this code."""
    assert job.progress is not None
    return next(step for step in job.progress.steps or [] if step.step_code == code)


async def until(client: AsyncSimulacra, job_id: str, seen: ProgressStatus | int, *, seconds: float) -> Job:
    """Watches a job until it has a status, or (given a number) TRAIN_MODEL runs after so many restarts."""
    async with asyncio.timeout(seconds), contextlib.aclosing(client.jobs.watch(job_id)) as states:
        async for job in states:
            assert job.progress is not None
            if isinstance(seen, ProgressStatus):
                if job.progress.status == seen:
                    return job
                assert job.progress.status not in ENDED, job.progress
                continue
            step = step_of(job, StepCode.TRAIN_MODEL)
            running = step.status == ProgressStatus.IN_PROGRESS and (step.restarts or 0) >= seen
            if running and step.progress is not None and step.progress.value:
                return job
            assert job.progress.status not in ENDED, job.progress
    raise AssertionError("the watch ended before its job")


async def training_under_way(client: AsyncSimulacra) -> tuple[AsyncGenerator, str]:
    """Starts a training that goes on for some seconds, and returns once its model has learnt a little."""
    generator = await client.train(
        data=people(40_000),
        name="people",
        seed=1,
        model_configuration={"max_training_time": 0.25},
        wait=False,
    )
    progress = await generator.training.progress()
    assert progress.id is not None
    await until(client, progress.id, 0, seconds=90)
    return generator, progress.id
