"""Training ends in its budget, is deterministic, and goes on from a checkpoint as if nothing had happened."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from simulacra.engine import (
    AnalyzeOptions,
    Bundle,
    FolderCheckpoints,
    TableCodec,
    TrainingConfig,
    TrainingTask,
    TrainProgress,
    analyze,
    train,
    training,
)
from simulacra.engine.checkpoint import unpack
from simulacra.errors import CorruptBundle, InvalidArgument, TrainingDataInsufficient

CONFIG = TrainingConfig(max_epochs=4, threads=1, checkpoint_seconds=0.0)


@pytest.fixture(scope="module")
def codec(table: pa.Table) -> TableCodec:
    return analyze(table)


@pytest.fixture(scope="module")
def codes(table: pa.Table, codec: TableCodec) -> np.ndarray:
    return codec.encode(table)


class Checkpoints:
    """Keeps checkpoints in memory."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.files = [] if files is None else [files]

    def save(self, files: Mapping[str, bytes]) -> None:
        self.files.append(files)

    def load(self) -> Mapping[str, bytes] | None:
        return self.files[-1] if self.files else None


def run(task: TrainingTask) -> tuple[list[TrainProgress], Bundle]:
    progress = list(train(task))
    assert progress[-1].bundle is not None
    return progress, progress[-1].bundle


def same_weights(a: Bundle, b: Bundle) -> bool:
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


def test_progress_counts_and_losses_fall(codec: TableCodec, codes: np.ndarray) -> None:
    progress, bundle = run(TrainingTask(codec, codes, CONFIG))
    assert [p.step for p in progress] == sorted(p.step for p in progress)
    assert progress[-1].epoch <= 4
    assert [p.samples for p in progress] == [p.step * 32 for p in progress]
    assert bundle.facts["batch_size"] == 32
    losses = [p.val_loss for p in progress if p.val_loss is not None]
    assert losses[-1] < losses[0]
    assert progress[-1].learning_rate < 1e-3
    assert all(p.bundle is None for p in progress[:-1])
    assert bundle.facts["rows"] == 600


def test_same_seed_same_weights(codec: TableCodec, codes: np.ndarray) -> None:
    first, second = (run(TrainingTask(codec, codes, CONFIG))[1] for _ in range(2))
    assert same_weights(first, second)


def test_a_resumed_training_ends_with_the_same_weights(codec: TableCodec, codes: np.ndarray) -> None:
    whole = Checkpoints()
    _, expected = run(TrainingTask(codec, codes, CONFIG, checkpoint=whole))
    middle = Checkpoints(whole.files[len(whole.files) // 2])
    progress, resumed = run(TrainingTask(codec, codes, CONFIG, checkpoint=middle))
    assert progress[0].step > 1
    assert same_weights(expected, resumed)


LARGE = TrainingConfig(
    max_epochs=9, threads=1, checkpoint_seconds=0.0, hidden=32, dropout=0.0, learning_rate=0.03
)


@pytest.fixture(scope="module")
def large() -> tuple[TableCodec, np.ndarray]:
    """Rows enough to tell how fast weights should decay, and codes enough to be learnt by heart."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 80, 4200)
    second = (first + rng.integers(0, 8, 4200)) % 80
    table = pa.table({"a": first, "b": second, "c": rng.integers(0, 80, 4200)})
    codec = analyze(table, options=AnalyzeOptions(max_atoms=100))
    return codec, codec.encode(table)


@pytest.mark.parametrize("sources", [None, 2], ids=["narrow", "wide"])
def test_resuming_is_exact_while_the_decay_adapts(
    large: tuple[TableCodec, np.ndarray], sources: int | None
) -> None:
    config, whole = replace(LARGE, sources=sources), Checkpoints()
    _, expected = run(TrainingTask(*large, config, checkpoint=whole))
    assert bool(expected.config.sources) is (sources is not None)
    strengths = [unpack(files)[0].weight_decay for files in whole.files]
    assert len(set(strengths)) > 2  # else nothing adapted
    changed = next(i for i, strength in enumerate(strengths) if strength != strengths[0])
    for number in (changed - 1, changed, len(whole.files) * 3 // 4):
        progress, resumed = run(TrainingTask(*large, config, checkpoint=Checkpoints(whole.files[number])))
        assert progress[0].step > number
        assert same_weights(expected, resumed)
        assert resumed.facts["weight_decay"] == expected.facts["weight_decay"]
        assert resumed.facts["validation_loss"] == expected.facts["validation_loss"]


def test_a_checkpoint_of_another_task_is_not_resumed(codec: TableCodec, codes: np.ndarray) -> None:
    whole = Checkpoints()
    run(TrainingTask(codec, codes, CONFIG, checkpoint=whole))
    _, expected = run(TrainingTask(codec, codes[:500], CONFIG))
    _, other = run(TrainingTask(codec, codes[:500], CONFIG, checkpoint=Checkpoints(whole.files[-1])))
    assert same_weights(expected, other)


def test_a_checkpoint_of_an_older_way_to_train_is_not_resumed(
    codec: TableCodec, codes: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Checkpoints()
    with monkeypatch.context() as patched:
        patched.setattr(training, "_RECIPE", -1)
        run(TrainingTask(codec, codes, CONFIG, checkpoint=older))
    anew, _ = run(TrainingTask(codec, codes, CONFIG))
    not_resumed, _ = run(TrainingTask(codec, codes, CONFIG, checkpoint=Checkpoints(older.files[-1])))
    assert not_resumed[0].step == anew[0].step


def test_a_damaged_checkpoint_is_an_error(codec: TableCodec, codes: np.ndarray) -> None:
    with pytest.raises(CorruptBundle):
        run(TrainingTask(codec, codes, CONFIG, checkpoint=Checkpoints({"checkpoint.safetensors": b"junk"})))


def test_checkpoints_in_a_folder_replace_each_other(tmp_path, codec: TableCodec, codes: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    store = FolderCheckpoints(tmp_path / "checkpoints")
    assert store.load() is None
    _, expected = run(TrainingTask(codec, codes, CONFIG, checkpoint=store))
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    _, resumed = run(TrainingTask(codec, codes, CONFIG, checkpoint=store))
    assert same_weights(expected, resumed)


def test_training_ends_annealed_within_its_time(codec: TableCodec, codes: np.ndarray) -> None:
    now = iter(np.arange(0, 1000, 0.1))
    config = TrainingConfig(max_training_time_seconds=3.0, threads=1)
    progress, _ = run(TrainingTask(codec, codes, config, clock=lambda: float(next(now))))
    assert progress[-1].elapsed <= 3.0
    assert progress[-1].learning_rate < 0.2 * max(p.learning_rate for p in progress)


def test_going_on_from_a_bundle_starts_where_it_ended(codec: TableCodec, codes: np.ndarray) -> None:
    _, bundle = run(TrainingTask(codec, codes, CONFIG))
    progress, _ = run(TrainingTask(codec, codes, CONFIG, start=bundle))
    first = next(p.val_loss for p in progress if p.val_loss is not None)
    assert first < bundle.facts["validation_loss"] * 1.05
    smaller = analyze(pa.table({"a": [1, 2] * 20}))
    with pytest.raises(InvalidArgument, match="other codecs"):
        run(TrainingTask(smaller, np.zeros((40, 1), np.int32), CONFIG, start=bundle))


def test_impossible_tasks_are_refused(codec: TableCodec, codes: np.ndarray) -> None:
    with pytest.raises(TrainingDataInsufficient):
        run(TrainingTask(codec, codes[:0], CONFIG))
    with pytest.raises(InvalidArgument, match="max_epochs"):
        run(TrainingTask(codec, codes, TrainingConfig(max_epochs=0)))


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_tiny_tables_can_be_learnt(table: pa.Table, rows: int) -> None:
    small = table.slice(0, rows)
    codec = analyze(small, options=AnalyzeOptions(value_protection=False))
    run(TrainingTask(codec, codec.encode(small), CONFIG))


def test_training_leaves_the_thread_count_and_global_seed_alone(codec: TableCodec, codes: np.ndarray) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    run(TrainingTask(codec, codes, CONFIG))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "forgotten"])
def test_an_abandoned_training_gives_the_threads_back(
    codec: TableCodec, codes: np.ndarray, closed: bool
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        training = train(TrainingTask(codec, codes, replace(CONFIG, threads=2)))
        next(training)
        assert torch.get_num_threads() == 1  # steps of few rows are not shared
        if closed:
            training.close()  # type: ignore[attr-defined]
        else:
            del training
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_few_rows_are_held_down_as_a_pilot_on_half_of_them_says() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 12, 400)
    noise = rng.integers(0, 12, (400, 6))

    def strengths(columns: np.ndarray) -> tuple[float, float]:
        table = pa.table({f"c{i}": pa.array(column).cast(pa.string()) for i, column in enumerate(columns.T)})
        codec = analyze(table)
        configs = TrainingConfig(threads=1), TrainingConfig(threads=1, validation_fraction=0.05)
        runs = [run(TrainingTask(codec, codec.encode(table), config))[1] for config in configs]
        return runs[0].facts["weight_decay"], runs[1].facts["weight_decay"]

    piloted, formula = strengths(noise)
    assert piloted > 1.5 * formula  # there is nothing to learn but the rows themselves
    piloted, formula = strengths(np.stack([one] * 6, 1))
    assert piloted == pytest.approx(formula, rel=0.1)  # whatever is learnt is true of all rows
