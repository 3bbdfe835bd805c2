"""The steps of an evaluation's job, on the driver's side: read the data, then compare them in a worker."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from simulacra.domain import EvaluationReference, JobKind, StepCode
from simulacra.jobs import Handler, StepContext, StepResult
from simulacra.rpc import acting_as
from simulacra_qa.jobs import ALL_ROLES
from simulacra_qa.metrics.accuracy import Reference
from simulacra_qa.peers import ConnectorPeer

__all__ = ["COMPARE_TASK", "EVALUATE_TASK", "EvaluationSteps"]

EVALUATE_TASK = "simulacra_qa.tasks:evaluate_artifacts"
COMPARE_TASK = "simulacra_qa.tasks:compare_with_statistics"
_REFERENCES = {
    EvaluationReference.TRAINING: Reference.TRAINING,
    EvaluationReference.TRAINING_AND_HOLDOUT: Reference.ORIGINAL,
}
_NO_SIGN = 2**63 - 1


class EvaluationSteps:
    """The handlers of an evaluation's steps.

    Args:
        connectors: Where data come from.
        embedder: The folder of the embedding model's weights, if it is set.
    """

    def __init__(self, connectors: ConnectorPeer, *, embedder: Path | None = None) -> None:
        self._connectors = connectors
        self._embedder = str(embedder) if embedder else ""

    def handlers(self) -> Mapping[StepCode | tuple[JobKind, StepCode], Handler]:
        """Returns a handler for each step; each acts as the job's owner."""
        handlers: dict[StepCode, Handler] = {
            StepCode.PULL_TRAINING_DATA: self.pull,
            StepCode.CREATE_DATA_REPORT: self.compare,
        }
        return {code: partial(_as_owner, handler) for code, handler in handlers.items()}

    async def pull(self, ctx: StepContext) -> StepResult:
        """Has the connector service read a table, or a random sample of a very large one."""
        artifact, rows = ctx.artifact_name(ctx.key), 0
        async for progress in self._connectors.pull(
            ctx.payload["connector_id"],
            ctx.payload["location"],
            artifact,
            max_rows=ctx.payload["max_rows"],
            seed=ctx.payload["seed"] & _NO_SIGN,
        ):
            rows = progress.rows
            await ctx.report(value=rows, max=max(progress.total_rows, rows, 1))
        await ctx.log(f"read {rows} {ctx.key} rows")
        return StepResult({"artifact": artifact, "rows": rows})

    async def compare(self, ctx: StepContext) -> StepResult:
        """Compares the tables in a worker, which writes the report."""
        report = ctx.artifact_name("report")
        names = {role: ctx.outputs.get(role, {}).get("artifact", "") for role in ALL_ROLES}
        payload = {
            **names,
            "report": report,
            "embedder": self._embedder,
            "title": ctx.payload["title"],
            "table_name": ctx.payload["table_name"],
            "seed": ctx.payload["seed"],
            "reference": _REFERENCES[EvaluationReference(ctx.payload["reference"])].value,
            **{name: ctx.payload[name] for name in ("key", "context_key", "context_name", "target", "embed")},
        }
        result = await ctx.execute(EVALUATE_TASK, payload)
        return StepResult({"report": report, "metrics": result["metrics"]})


async def _as_owner(handler: Handler, ctx: StepContext) -> StepResult:
    with acting_as(ctx.owner):
        return await handler(ctx)
