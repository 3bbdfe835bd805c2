"""What may pass is tried again; what will not is raised at once."""

import threading
from collections.abc import Generator

import pytest

from simulacra.errors import SourceAuthenticationFailed, SourceUnreachable
from simulacra_connector.drivers.base import Canceled, Cancellation
from simulacra_connector.patience import persist


class Flaky:
    """Work that fails so many times before it succeeds."""

    def __init__(self, failures: int, error: type[Exception] = SourceUnreachable) -> None:
        self.failures, self.error, self.runs = failures, error, 0

    def __call__(self) -> Generator[int, None, None]:
        self.runs += 1
        yield self.runs
        if self.runs <= self.failures:
            raise self.error("away")
        yield -1


def run(work: Flaky, *, seconds: float = 30, cancellation: Cancellation | None = None) -> list[int]:
    return list(persist(work, seconds=seconds, cancellation=cancellation or Cancellation()))


def test_work_starts_again_until_the_source_answers() -> None:
    assert run(Flaky(2)) == [1, 2, 3, -1]


def test_without_patience_and_for_other_errors_the_first_one_counts() -> None:
    for work, seconds in ((Flaky(1), 0.0), (Flaky(1, SourceAuthenticationFailed), 30.0)):
        with pytest.raises(work.error, match="away"):
            run(work, seconds=seconds)
        assert work.runs == 1


def test_a_cancel_ends_the_waiting() -> None:
    cancellation = Cancellation()
    work = Flaky(100)
    timer = threading.Timer(0.5, cancellation.cancel)
    timer.start()
    with pytest.raises(Canceled):
        run(work, cancellation=cancellation)
    timer.join()
    assert work.runs < 10
