"""What a service asks the queue to do: a job as a graph of steps."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from simulacra.domain import JobKind, StepCode
from simulacra.errors import InvalidArgument
from simulacra.rpc.auth import Principal

__all__ = ["JobPlan", "Resources", "StepPlan"]


@dataclass(frozen=True, slots=True)
class Resources:
    """What a step's tasks need of a machine.

    Attributes:
        cpus: Cores; also the number of threads that a worker uses.
        gpus: Accelerators.
        memory_gb: Memory in gigabytes that a scheduler sets aside; 0 asks for none in particular.
        compute_id: The `Compute` that was chosen, if any.
        compute_name: Its name, which progress shows.
    """

    cpus: int = 1
    gpus: int = 0
    memory_gb: float = 0.0
    compute_id: str | None = None
    compute_name: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON document."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Resources":
        """Reads what `to_json` wrote."""
        return cls(**document)


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step: what is claimed, retried and canceled as a whole.

    Attributes:
        key: Names the step within its job.
        code: What kind of work it is.
        payload: JSON for its handler.
        after: Keys of the steps that must be DONE before it starts.
        model_label: Table and model type, for the steps of one model.
        resources: What its tasks need.
        max: How far its progress goes.
    """

    key: str
    code: StepCode
    payload: Mapping[str, Any] = field(default_factory=dict)
    after: Sequence[str] = ()
    model_label: str | None = None
    resources: Resources = Resources()
    max: int = 1


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job to submit: whose it is, what it works on, its steps; a higher `priority` is claimed first."""

    kind: JobKind
    resource_uri: str
    resource_name: str
    owner: Principal
    steps: Sequence[StepPlan]
    priority: int = 0

    @property
    def parallel_limit(self) -> int | None:
        """How many jobs of this kind the owner may run at once; None is without limit."""
        limits = self.owner.limits
        by_kind = {"TRAINING": limits.parallel_training_jobs, "GENERATION": limits.parallel_generation_jobs}
        return by_kind.get(self.kind.value)

    def check(self) -> None:
        """Raises `InvalidArgument` unless each step comes only after ones listed before it."""
        seen: set[str] = set()
        if not self.steps:
            raise InvalidArgument("a job needs at least one step")
        for step in self.steps:
            missing = [key for key in step.after if key not in seen]
            if missing:
                raise InvalidArgument(f"step {step.key!r} comes after {missing[0]!r}, which is not before it")
            if step.key in seen:
                raise InvalidArgument(f"two steps of a job are called {step.key!r}")
            seen.add(step.key)
