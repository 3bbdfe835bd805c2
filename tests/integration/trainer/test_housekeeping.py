"""What is cleaned up, and what is kept."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from simulacra.artifacts import ArtifactStore
from simulacra.domain import JobKind, StepCode
from simulacra.errors import ServiceUnavailable
from simulacra.jobs import JobPlan, JobStore, StepPlan
from simulacra.rpc import Principal
from simulacra.store import Database
from simulacra.store.releases import HeldReferences
from simulacra_trainer.housekeeping import Housekeeping
from simulacra_trainer.store import releases
from simulacra_trainer.tasks import ArtifactCheckpoints

OWNER = Principal("u", "U")


class Peer:
    """The other side of references: holds them, and may be away."""

    def __init__(self) -> None:
        self.held: set[tuple[str, str]] = set()
        self.away = False

    async def add(self, id: str, uri: str, name: str) -> None:
        if self.away:
            raise ServiceUnavailable("away")
        self.held.add((id, uri))

    async def remove(self, id: str, uri: str) -> None:
        if self.away:
            raise ServiceUnavailable("away")
        self.held.discard((id, uri))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'trainer.db'}")
    await database.migrate("simulacra_trainer")
    yield database
    await database.close()


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.from_url((tmp_path / "artifacts").as_uri())


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def references(database: Database, peer: Peer) -> HeldReferences:
    return HeldReferences(database, releases, add=peer.add, remove=peer.remove)


def write(artifacts: ArtifactStore, name: str) -> None:
    with artifacts.create(name) as writer:
        writer.write_bytes("file", b"x")
        writer.publish(kind="test")


async def canceled_job(jobs: JobStore) -> str:
    steps = [StepPlan("pull", StepCode.PULL_TRAINING_DATA)]
    async with jobs.database.begin() as tx:
        job = await jobs.submit(tx, JobPlan(JobKind.TRAINING, "generators/g", "g", OWNER, steps))
    return (await jobs.cancel(job.id)).id


@pytest.mark.parametrize(("keep", "left"), [(timedelta(days=7), True), (timedelta(0), False)])
async def test_data_of_a_canceled_training_are_kept_for_a_while(
    database: Database, artifacts: ArtifactStore, references: HeldReferences, keep: timedelta, left: bool
) -> None:
    jobs = JobStore(database)
    job_id = await canceled_job(jobs)
    write(artifacts, f"training/{job_id}/pulled")
    write(artifacts, "training/of-nobody/pulled")
    await Housekeeping(database, jobs, artifacts, references, keep=keep).tidy()
    assert artifacts.exists(f"training/{job_id}/pulled") is left
    assert not artifacts.exists("training/of-nobody/pulled")


async def test_discarded_data_are_deleted_in_the_background(
    database: Database, artifacts: ArtifactStore, references: HeldReferences
) -> None:
    housekeeping = Housekeeping(database, JobStore(database), artifacts, references, keep=timedelta(days=7))
    await housekeeping.start()
    write(artifacts, "training/j/pulled")
    housekeeping.discard("training/j")
    await housekeeping.idle()
    assert not artifacts.exists("training/j/pulled")
    await housekeeping.stop()


async def test_a_reference_that_was_not_kept_is_taken_back(
    database: Database, references: HeldReferences, peer: Peer
) -> None:
    await references.take("generators/g", "g", ["c1", "c2"])
    assert peer.held == {("c1", "generators/g"), ("c2", "generators/g")}
    await references.release_due()  # not yet: its row may be about to be added
    assert len(peer.held) == 2
    await references.give_back("generators/g")
    assert not peer.held


async def test_a_kept_reference_stays_and_a_release_waits_for_the_other_side(
    database: Database, references: HeldReferences, peer: Peer
) -> None:
    await references.take("generators/g", "g", ["c"])
    async with database.begin() as tx:
        await references.keep(tx, "generators/g")
    await references.give_back("generators/g")
    assert peer.held == {("c", "generators/g")}
    async with database.begin() as tx:
        await references.release_later(tx, "generators/g", ["c"])
    peer.away = True
    await references.release_due()
    assert peer.held
    peer.away = False
    await references.release_due()
    assert not peer.held
    async with database.read() as connection:
        assert (await connection.execute(sa.select(sa.func.count()).select_from(releases))).scalar_one() == 0


async def test_a_reference_that_cannot_be_made_leaves_none(references: HeldReferences, peer: Peer) -> None:
    async def second_fails(id: str, uri: str, name: str) -> None:
        if id == "c2":
            raise ServiceUnavailable("away")
        peer.held.add((id, uri))

    references._add = second_fails
    with pytest.raises(ServiceUnavailable):
        await references.take("generators/g", "g", ["c1", "c2"])
    assert not peer.held


def test_the_newest_checkpoint_of_any_attempt_counts(artifacts: ArtifactStore) -> None:
    first, second = (ArtifactCheckpoints(artifacts, "training/j/train/checkpoints", n) for n in (1, 2))
    assert first.load() is None
    for number in range(3):
        first.save({"f": b"1-%d" % number})
    assert len(artifacts.names("training/j/train/checkpoints")) == 1
    assert second.load() == {"f": b"1-2"}
    second.save({"f": b"2-0"})
    first.save({"f": b"a zombie's"})  # the attempt that was thought dead changes nothing
    assert second.load() == {"f": b"2-0"}
    second.clear()
    assert first.load() is None
