"""Training: a generator that yields progress, ends annealed inside its budget, and can be resumed exactly."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simulacra.engine import choices, memory
from simulacra.engine.adam import Adam
from simulacra.engine.association import Association
from simulacra.engine.bundle import FORMAT_VERSION, Bundle
from simulacra.engine.checkpoint import TrainingState, pack, unpack
from simulacra.engine.computing import computing
from simulacra.engine.decay import Decay, first_strength
from simulacra.engine.network import Network
from simulacra.engine.split import split_holdout
from simulacra.engine.task import TrainingTask, TrainProgress
from simulacra.errors import CorruptBundle, InvalidArgument, TrainingDataInsufficient

__all__ = ["train"]

_RECIPE = 2  # raised where the same task comes to train to other weights: checkpoints before it start anew
_DECAY_FROM = 0.3
_WARM_UP = 30
_STAYING = 5000  # rows, of which dropout stays what it is
_EMA = 0.99
_LOOKS = 8  # at least so often validation rows are looked at
_FITTED_SHARE = 10  # fitting the biases passes over a tenth of as many rows as the training did, at most
_PATIENCE = 3
_MAX_VALIDATION_ROWS, _MAX_SEEN_ROWS = 4096, 2048
_COMPARABLE, _COMPARABLE_IN_PILOT = 200, 30  # validation rows that the decay can follow
_TOLERANCE = (
    0.01  # annealed weights are better than mid-training ones whose validation loss is this little lower
)


def train(task: TrainingTask) -> Iterator[TrainProgress]:
    """Trains a network; the last item holds the bundle.

    Raises:
        TrainingDataInsufficient: There are no rows.
        InvalidArgument: A limit of the config is not positive, or the start bundle does not fit.
    """
    with computing(task.config.threads, large=False), memory.kept():
        yield from _Training(task).run()


class _Training:
    """One training: the network, its optimiser and average, the plan, and the rows."""

    def __init__(self, task: TrainingTask) -> None:
        self.started = task.clock()
        _check(task)
        self.task = task
        config = task.config
        rows = len(task.codes)
        fraction = config.validation_fraction
        if fraction is None:
            fraction = min(float(np.clip(200 / max(rows, 1), 0.05, 0.1)), _MAX_VALIDATION_ROWS / max(rows, 1))
        training, validation = split_holdout(rows, fraction, config.seed, task.subjects)
        validation = validation[_spread(len(validation), _MAX_VALIDATION_ROWS)]
        codes = torch.from_numpy(np.ascontiguousarray(task.codes, dtype=np.int32))
        self.rows = codes[torch.from_numpy(training)].to(config.device)
        self.held = codes[torch.from_numpy(validation)].long().to(config.device)
        self.batch = config.batch_size or choices.batch_size(len(self.rows))
        self.batch = min(self.batch, len(self.rows))
        self.steps_per_epoch = max(1, len(self.rows) // self.batch)
        association = Association.of(task.codes[training], config.seed)
        if task.start is not None:
            shape = task.start.config
        else:
            shape = choices.network_config(task, len(training), association)
        places = task.codec.places if config.smooth else None
        self.network = Network(shape, self._generator("weights", 0), places).to(config.device)
        self.seen = self.rows[torch.from_numpy(_spread(len(self.rows), _MAX_SEEN_ROWS))].long()
        self.canonical = torch.tensor(shape.ranks(shape.canonical_order()), device=config.device)
        sizes = enumerate(shape.cardinalities)
        self.network.set_marginals([torch.bincount(self.rows[:, i], minlength=size) for i, size in sizes])
        looking = task.clock()
        # Rows differ in how likely they are before anything is learnt; that is taken out of the comparison.
        enough = _COMPARABLE if config.validation_fraction is None else _COMPARABLE_IN_PILOT
        self.surprisals = (
            None if len(self.held) < enough else [self._nll(rows).T for rows in (self.seen, self.held)]
        )
        # What comes after the last step takes about as long as two such looks at the rows.
        look, limit = task.clock() - looking, config.max_training_time_seconds
        self.usable_seconds = max(0.5 * limit, 0.95 * limit - 2 * look)
        if task.start is not None:
            self.network.load_state_dict(dict(task.start.weights), strict=False)
        self.parameters = [weight for weight in self.network.parameters() if weight.numel()]
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.best = [parameter.detach().clone() for parameter in self.parameters]
        strength = config.weight_decay
        if strength is None:
            strength = self._piloted(shape.cardinalities, association.noise)
        self.decay = Decay(self.network, strength, rows, association.noise)
        self.optimizer = Adam(self.parameters)
        self.state = TrainingState(_fingerprint(task), weight_decay=strength)
        self._plan(
            min(
                config.max_epochs * self.steps_per_epoch,
                choices.planned_steps(len(self.rows), self.steps_per_epoch),
            )
        )

    def _piloted(self, cardinalities: Sequence[int], noise: np.ndarray) -> float:
        """Returns the decay to begin with.

        Where too few rows validate for the decay to follow them, a training on half of the rows, validated on
        the other half, says by how much it is to be more than what is usual for so many codes and rows.
        """
        task, rows = self.task, len(self.rows)
        first = first_strength(rows, cardinalities, noise)
        given = task.config.validation_fraction is not None
        if given or self.surprisals is not None or rows < 2 * _COMPARABLE_IN_PILOT:
            return first
        limit = task.config.max_training_time_seconds / 4
        config = replace(task.config, validation_fraction=0.5, max_training_time_seconds=limit)
        pilot = _Training(replace(task, config=config, start=None, checkpoint=None))
        for _ in pilot.run():
            pass
        found = pilot.state.weight_decay / first_strength(len(pilot.rows), cardinalities, noise)
        return first * max(found, 1.0)

    def _plan(self, total_steps: float) -> None:
        self.state.total_steps = max(1, math.ceil(total_steps))
        self.state.decay_from = int(_DECAY_FROM * self.state.total_steps)

    def _generator(self, purpose: str, number: int) -> torch.Generator:
        """Returns random numbers that depend on seed, purpose and step alone, so resuming is exact."""
        key = [self.task.config.seed & (2**63 - 1), *purpose.encode(), number]
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
        return torch.Generator().manual_seed(seed)

    def run(self) -> Iterator[TrainProgress]:
        """Trains to the end of the plan."""
        large = choices.is_large(self.batch, len(self.network.config.cardinalities))
        with computing(self.task.config.threads if large else 1, large=large):
            yield from self._run()

    def _run(self) -> Iterator[TrainProgress]:
        config, state, clock = self.task.config, self.state, self.task.clock
        self._resume()
        state = self.state
        before, started = state.elapsed, self.started
        saved, shown = state.elapsed, state.elapsed
        every = max(1, min(self.steps_per_epoch, state.total_steps // _LOOKS))
        permutation, order_of = torch.empty(0), -1
        rate, loss, best = 0.0, self._last_loss(), False
        while True:
            state.elapsed = before + clock() - started
            done = max(state.step / state.total_steps, state.elapsed / self.usable_seconds)
            if done >= 1 and state.step > 0:
                break
            epoch, place = divmod(state.step, self.steps_per_epoch)
            if epoch != order_of:
                permutation = torch.randperm(len(self.rows), generator=self._generator("epoch", epoch))
                order_of = epoch
            rate = self._rate(done)
            self._step(permutation[place * self.batch : (place + 1) * self.batch], rate)
            if state.step % every == 0:
                loss, best = self._validate()
                yield self._progress(rate, loss, best)
                shown = state.elapsed
                if self._hopeless():
                    break
            elif state.elapsed - shown > 0.5:
                yield self._progress(rate, self._last_loss(), best=False)
                shown = state.elapsed
            if self.task.checkpoint is not None and state.elapsed - saved > config.checkpoint_seconds:
                self.task.checkpoint.save(self._snapshot())
                saved = state.elapsed
        if not state.history or state.history[-1][0] != state.step:
            loss, best = self._validate()
        state.elapsed = before + clock() - started
        yield replace(self._progress(rate, loss, best), bundle=self._bundle())

    def _step(self, chosen: Tensor, rate: float) -> None:
        """One optimiser step on some rows."""
        state, network = self.state, self.network
        generator = self._generator("step", state.step)
        codes = self.rows[chosen].long()
        ranks = self._ranks(len(codes), rate, generator)
        kept = network.kept_units(len(codes), self._dropout(rate), generator)
        loss = network.nll(codes, ranks, kept).sum(0).mean()
        self.optimizer.forget_gradients()
        loss.backward()  # type: ignore[no-untyped-call]
        self.decay.apply(rate * state.weight_decay)
        self.optimizer.step(rate)
        torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self.parameters], 1 - _EMA)
        state.step += 1
        weight = max(0.02, 1 / state.step)
        state.train_loss += weight * (loss.item() - state.train_loss)

    def _ranks(self, rows: int, rate: float, generator: torch.Generator) -> Tensor:
        """Returns orders: the canonical one for half of the rows, one of its own for each of the others.

        As the learning rate falls, the canonical order, in which most rows will be sampled, gets more: up to
        three quarters.
        """
        ranks = self.canonical.expand(rows, -1)
        if not self.task.config.flexible:
            return ranks
        config = self.task.config
        share = (1 + min(1.0, rate / config.learning_rate)) / 4
        free = int(rows * share + torch.rand((), generator=generator).item())
        columns = torch.tensor(self.network.config.columns)
        drawn = torch.rand(free, int(columns[-1]) + 1, generator=generator)[:, columns]
        places = drawn.argsort(dim=1, stable=True).argsort(dim=1)  # the parts of a column keep their sequence
        return torch.cat([ranks[free:], places.to(ranks.device)])

    def _dropout(self, rate: float) -> float:
        """Returns the share of hidden units to drop: with many rows it falls as the learning rate does.

        In the end all units are there, as in sampling; the fewer the rows, the more stays dropped, since what
        is learnt by heart is learnt then.
        """
        last = min(1.0, _STAYING / len(self.rows)) ** 2
        share = min(1.0, rate / self.task.config.learning_rate)
        return self.network.config.dropout * (last + (1 - last) * share)

    def _rate(self, done: float) -> float:
        """Returns the learning rate: warm-up, constant, then linear to zero at the end of the plan."""
        start = self.state.decay_from / self.state.total_steps
        fall = max(0.0, min(1.0, (1.0 - done) / max(1e-9, 1.0 - start)))
        return self.task.config.learning_rate * min(1.0, (self.state.step + 1) / _WARM_UP) * fall

    @torch.no_grad()
    def _validate(self) -> tuple[float | None, bool]:
        """Returns the averaged weights' validation loss, and whether it is the lowest yet."""
        state = self.state
        if not len(self.held):
            self._keep()
            return None, True
        current = [parameter.detach().clone() for parameter in self.parameters]
        self._load(self.average)
        losses = self._losses(self.held)
        if self.surprisals is not None and self.task.config.weight_decay is None:
            both = (self._losses(self.seen), losses)
            share = (state.step - (state.history[-1][0] if state.history else 0)) / state.total_steps
            state.weight_decay = self.decay.adapted(state.weight_decay, both, self.surprisals, share)
        self._load(current)
        loss = losses.mean().item()
        best = loss < state.best_loss
        if best:
            state.best_loss, state.best_step = loss, state.step
            self._keep()
        state.history.append((state.step, state.train_loss, loss))
        constant = state.step < state.decay_from
        if loss < state.reference_loss * (1 - 5e-4):
            state.reference_loss, state.stale = loss, 0
        elif constant:
            state.stale += 1
            if state.stale >= _PATIENCE:
                self._plan(min(state.total_steps, state.step / _DECAY_FROM))
        return loss, best

    @torch.no_grad()
    def _losses(self, rows: Tensor) -> Tensor:
        """Returns the negative log-likelihood of rows in the canonical order."""
        return self._nll(rows).sum(0)

    @torch.no_grad()
    def _nll(self, rows: Tensor) -> Tensor:
        """Returns the same of each code, `(targets, rows)`."""
        parts = torch.split(rows, 512)
        return torch.cat([self.network.nll(part, self.canonical.expand(len(part), -1)) for part in parts], 1)

    def _hopeless(self) -> bool:
        """Says whether the network only learns rows by heart: validation is far above its best."""
        state = self.state
        late = state.step - state.best_step > 0.25 * state.total_steps
        return bool(late and state.history and state.history[-1][2] > state.best_loss * 1.01)

    def _last_loss(self) -> float | None:
        return self.state.history[-1][2] if self.state.history else None

    @torch.no_grad()
    def _load(self, tensors: list[Tensor]) -> None:
        torch._foreach_copy_([parameter.data for parameter in self.parameters], tensors)

    @torch.no_grad()
    def _keep(self) -> None:
        torch._foreach_copy_(self.best, self.average)

    def _progress(self, rate: float, loss: float | None, best: bool) -> TrainProgress:
        state = self.state
        samples = state.step * self.batch
        return TrainProgress(
            epoch=state.step / self.steps_per_epoch,
            step=state.step,
            total_steps=state.total_steps,
            samples=samples,
            train_loss=state.train_loss,
            val_loss=loss,
            learning_rate=rate,
            elapsed=state.elapsed,
            best=best,
        )

    def _snapshot(self) -> dict[str, bytes]:
        tensors: dict[str, Tensor] = {}
        for number, parameter in enumerate(self.parameters):
            tensors[f"parameter.{number}"] = parameter
            tensors[f"average.{number}"] = self.average[number]
            tensors[f"best.{number}"] = self.best[number]
        tensors.update(self.optimizer.tensors())
        return pack(self.state, tensors)

    @torch.no_grad()
    def _resume(self) -> None:
        """Takes the state of the last checkpoint, if there is one of this task."""
        files = self.task.checkpoint.load() if self.task.checkpoint is not None else None
        if files is None:
            return
        state, tensors = unpack(files)
        if state.fingerprint != self.state.fingerprint:
            return
        try:
            for number, parameter in enumerate(self.parameters):
                parameter.copy_(tensors[f"parameter.{number}"])
                self.average[number].copy_(tensors[f"average.{number}"])
                self.best[number].copy_(tensors[f"best.{number}"])
            self.optimizer.restore(tensors)
        except (KeyError, RuntimeError) as error:
            raise CorruptBundle(f"the checkpoint does not fit the network: {error}") from error
        self.state = state

    def _bundle(self) -> Bundle:
        state, config = self.state, self.task.config
        # Said so that a loss that is not a number counts as worse too.
        overfitted = bool(state.history) and not state.history[-1][2] <= state.best_loss * (1 + _TOLERANCE)
        self._load(self.best if overfitted else self.average)
        fitted = max(1, state.step * self.batch // _FITTED_SHARE)
        self.network.fit_biases(self.rows[torch.from_numpy(_spread(len(self.rows), fitted))], self.canonical)
        facts: dict[str, Any] = {
            "rows": len(self.task.codes),
            "epochs": state.step / self.steps_per_epoch,
            "steps": state.step,
            "batch_size": self.batch,
            "training_seconds": round(state.elapsed, 3),
            "validation_loss": state.best_loss if state.history else None,
            "weight_decay": round(state.weight_decay, 4),
            "flexible": config.flexible,
            "seed": config.seed,
            "torch": torch.__version__,
        }
        return Bundle(self.task.codec, self.network.config, self.network.folded(), facts)


def _spread(rows: int, most: int) -> np.ndarray:
    """Returns the numbers of at most so many rows, evenly over all of them."""
    return np.linspace(0, rows - 1, min(rows, most)).astype(np.int64)


def _check(task: TrainingTask) -> None:
    config = task.config
    if not len(task.codes):
        raise TrainingDataInsufficient("the table has no rows to learn from")
    for name in ("max_training_time_seconds", "max_epochs", "batch_size"):
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise InvalidArgument.of(name, f"{value} is not positive")
    if task.start is not None and task.start.codec.to_json() != task.codec.to_json():
        raise InvalidArgument.of("start", "the bundle to go on from has other codecs")


def _fingerprint(task: TrainingTask) -> str:
    """Returns a hash of what decides the weights, so that a checkpoint is resumed by its own task only."""
    digest = hashlib.sha256(np.ascontiguousarray(task.codes, dtype=np.int32).tobytes())
    digest.update(f"{FORMAT_VERSION} {_RECIPE} {torch.__version__}".encode())
    if task.subjects is not None:
        digest.update(np.unique(task.subjects, return_inverse=True)[1].astype(np.int64).tobytes())
    decisive = {k: v for k, v in asdict(task.config).items() if k not in ("checkpoint_seconds", "threads")}
    digest.update(repr(sorted(decisive.items())).encode())
    digest.update(repr([(s.column, s.cardinality) for s in task.codec.sub_columns]).encode())
    if task.start is not None:
        for name, tensor in sorted(task.start.weights.items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
