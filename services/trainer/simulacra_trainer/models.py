"""The artifacts of trained models: where they are kept, and how they are copied."""

from collections.abc import Sequence

from simulacra.artifacts import ArtifactStore
from simulacra_trainer.state import TrainedModel

__all__ = ["copy_models", "generator_prefix", "initial_prefix", "training_prefix"]


def generator_prefix(id: str) -> str:
    """Returns the folder of all artifacts that live as long as a generator."""
    return f"generators/{id}"


def initial_prefix(id: str) -> str:
    """Returns the folder of the models that a generator's training goes on from."""
    return f"{generator_prefix(id)}/initial"


def training_prefix(job_id: str) -> str:
    """Returns the folder of the intermediate data of a training."""
    return f"training/{job_id}"


def _copy_artifact(artifacts: ArtifactStore, source: str, target: str) -> str:
    """Copies an artifact under another name, which it returns."""
    artifact = artifacts.open(source)
    with artifacts.create(target) as writer:
        for file in artifact.files:
            with artifact.open_file(file) as content, writer.open(file) as sink:
                while block := content.read(1 << 20):
                    sink.write(block)
        writer.publish(kind=artifact.manifest.kind, attributes=artifact.manifest.attributes)
    return target


def copy_models(
    artifacts: ArtifactStore, models: Sequence[TrainedModel], prefix: str, *, reports: bool = True
) -> list[TrainedModel]:
    """Copies models with their reports into a folder of artifacts; returns them with their new names."""
    copies = []
    for model in models:
        base = f"{prefix}/{model.table_id}/{model.model_type.value.lower()}"
        report = (
            _copy_artifact(artifacts, model.report, f"{base}/report") if model.report and reports else None
        )
        bundle = _copy_artifact(artifacts, model.bundle, f"{base}/bundle")
        copies.append(model.model_copy(update={"bundle": bundle, "report": report}))
    return copies
