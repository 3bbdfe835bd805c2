"""The data report of a generated table: it is compared with the protected statistics of its model."""

from collections.abc import Mapping
from typing import Any

from simulacra.domain import ModelMetrics, ReportFormat
from simulacra.errors import ArtifactNotFound
from simulacra.jobs import StepContext, StepResult
from simulacra_generator.peers import QaPeer, TrainerPeer
from simulacra_generator.service import dataset_prefix
from simulacra_generator.spec import TableControls

__all__ = ["REPORT_FILES", "ReportStep", "asked_for"]

REPORT_FILES = {ReportFormat.HTML: "report.html", ReportFormat.JSON: "metrics.json"}


class ReportStep:
    """Has the qa service judge a generated table.

    Args:
        trainer: Says where the statistics are.
        qa: Compares.
    """

    def __init__(self, trainer: TrainerPeer, qa: QaPeer) -> None:
        self._trainer = trainer
        self._qa = qa

    async def run(self, ctx: StepContext) -> StepResult:
        """Judges the table; a model without statistics, such as one of an older version, has no report."""
        controls = TableControls(**ctx.payload["controls"])
        generated = ctx.outputs[ctx.payload["generated"]]
        trained = await self._trainer.trained(ctx.payload["generator_id"])
        statistics = trained.reports.get(controls.name, "")
        report = (
            f"{dataset_prefix(ctx.resource_id)}/{ctx.job_id}/{ctx.payload['table_id']}-{ctx.attempt}-report"
        )
        found: ModelMetrics | None = None
        try:
            if not statistics:
                raise ArtifactNotFound("its model has no statistics")
            if not generated["rows"]:
                raise ArtifactNotFound("it has no rows")
            async for value, most, metrics in self._qa.evaluate_generated(
                synthetic=generated["artifact"],
                statistics=statistics,
                report=report,
                table_name=controls.name,
                title=f"{ctx.resource_name}: {controls.name}",
                seed=controls.seed,
                asked=asked_for(controls, generated.get("seeded", ())),
            ):
                found = metrics or found
                await ctx.report(value=value, max=max(most, 1))
        except ArtifactNotFound as error:
            await ctx.log(f'no data report of table "{controls.name}": {error.message}', "WARNING")
            return StepResult({})
        metrics = found or ModelMetrics()
        return StepResult({"report": report, "metrics": metrics.model_dump(mode="json")})


def asked_for(controls: TableControls, seeded: Any) -> Mapping[str, list[str]]:
    """Says what of a table is intended to differ from the original, in the fields of the qa service."""
    notes = []
    if controls.temperature != 1.0:
        less = "less" if controls.temperature < 1 else "more"
        notes.append(f"Sampled with temperature {controls.temperature:g}: values vary {less} by intention.")
    if controls.top_p != 1.0:
        notes.append(f"Sampled with top_p {controls.top_p:g}: unlikely values are left out by intention.")
    fairness = controls.fairness or {}
    fair = [fairness["target_column"], *fairness["sensitive_columns"]] if fairness else []
    return {
        "rebalanced_columns": [controls.rebalancing["column"]] if controls.rebalancing else [],
        "seeded_columns": list(seeded),
        "imputed_columns": list(controls.imputation),
        "fair_columns": fair,
        "notes": notes,
    }
