"""`simulacra synthesize`: files in, synthetic files out, on a platform that lives as long as the command."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulacra.cli.output import console, note, plain, print_json

if TYPE_CHECKING:
    from simulacra.client import Generator, Simulacra

__all__ = ["Task", "accuracy_grid", "metrics_of", "run", "step_seconds", "synthesize", "train"]


@dataclass(frozen=True, slots=True)
class Task:
    """What to make of which files, and where to put it."""

    sources: tuple[Path, ...]
    output: Path
    rows: int | None = None
    seed: int | None = None
    max_training_minutes: float | None = None
    report: Path | None = None
    metrics: Path | None = None


def run(task: Task, *, as_json: bool) -> None:
    """Does the task and says what came of it."""
    from simulacra.client import Simulacra

    with Simulacra(data_dir=":temporary:") as simulacra:
        summary = synthesize(simulacra, task, as_json=as_json)
    if as_json:
        print_json(summary)
        return
    out = console()
    out.print(accuracy_grid(summary["metrics"]))
    out.print(
        f"Trained in {summary['training_seconds']:.0f} s, generated in {summary['generation_seconds']:.0f} s."
    )
    for path in [
        *summary["files"].values(),
        *summary["reports"],
        *([summary["metrics_file"]] if task.metrics else []),
    ]:
        out.print(path, highlight=False, soft_wrap=True)


def synthesize(simulacra: "Simulacra", task: Task, *, as_json: bool) -> dict[str, Any]:
    """Trains, generates and writes; returns what was made, as `--json` prints it."""
    _check(task)
    if not as_json:
        note(f"Training on {', '.join(path.name for path in task.sources)}")
    started = time.monotonic()
    generator = train(
        simulacra,
        list(task.sources),
        seed=task.seed,
        max_training_minutes=task.max_training_minutes,
        progress_bar=not as_json,
    )
    trained = time.monotonic()
    dataset = simulacra.generate(generator, size=task.rows, seed=task.seed, progress_bar=not as_json)
    files = dataset.save_tables(task.output)
    generated = time.monotonic()
    metrics = metrics_of(generator)
    if task.metrics:
        task.metrics.write_text(json.dumps(metrics, indent=2) + "\n")
    return {
        "accuracy": generator.accuracy,
        "metrics": metrics,
        "files": {name: str(path) for name, path in files.items()},
        "reports": [str(path) for path in _write_reports(generator, task.report)] if task.report else [],
        "metrics_file": str(task.metrics) if task.metrics else None,
        "training_seconds": round(trained - started, 2),
        "generation_seconds": round(generated - trained, 2),
        "steps": step_seconds(generator),
    }


def _check(task: Task) -> None:
    """Refuses wrong files and places before anything starts: a training is too long to find out after it."""
    from simulacra.client._frames import as_sources
    from simulacra.errors import InvalidArgument

    stems: dict[str, Path] = {}
    for path in task.sources:
        try:
            (source,) = as_sources([path])
        except InvalidArgument as error:
            raise InvalidArgument.of("SOURCE", error.violations[0].description) from None
        if (twin := stems.setdefault(source.name, path)) is not path:
            raise InvalidArgument.of(
                "SOURCE", f'"{twin}" and "{path}" would both be the table "{source.name}"; rename one'
            )
    files = {"--report": task.report, "--metrics": task.metrics}
    folders = [("--output", task.output), *((name, path.parent) for name, path in files.items() if path)]
    for name, folder in folders:
        if folder.exists() and not folder.is_dir():
            raise InvalidArgument.of(name, f'"{folder}" is a file; give a folder')
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise InvalidArgument.of(name, f'the folder "{folder}" cannot be written to')
    if task.report and task.metrics and task.report.resolve() == task.metrics.resolve():
        raise InvalidArgument.of("--metrics", f'"{task.metrics}" is also the file of --report; give another')
    for name, file in files.items():
        if file and file.is_dir():
            raise InvalidArgument.of(name, f'"{file}" is a folder; give a file')


def train(
    simulacra: "Simulacra",
    data: object,
    *,
    seed: int | None,
    max_training_minutes: float | None,
    progress_bar: bool,
    name: str | None = None,
) -> "Generator":
    """Trains a generator on files or frames, each for at most so many minutes."""
    limit = {"max_training_time": max_training_minutes} if max_training_minutes is not None else None
    return simulacra.train(
        data=data, name=name, seed=seed, model_configuration=limit, progress_bar=progress_bar
    )


def metrics_of(generator: "Generator") -> dict[str, Any]:
    """Returns the ModelMetrics of each table."""
    return {
        table.name: plain(table.model_metrics or table.language_model_metrics or {})
        for table in generator.tables or []
    }


def step_seconds(generator: "Generator") -> list[dict[str, Any]]:
    """Returns when each step of the training started and ended, in seconds from the start of the training."""
    progress = generator.training.progress()
    begun = progress.start_date
    return [
        {
            "step": str(step.step_code),
            "model": step.model_label,
            "start": round((step.start_date - begun).total_seconds(), 2),
            "end": round((step.end_date - begun).total_seconds(), 2),
        }
        for step in progress.steps or []
        if begun and step.start_date and step.end_date
    ]


def _write_reports(generator: "Generator", target: Path) -> list[Path]:
    from simulacra.domain.text import file_stems

    tables = generator.tables or []
    if len(tables) == 1:
        return [generator.report(target)]
    stems = file_stems(table.name for table in tables)
    return [
        generator.report(target.with_name(f"{target.stem}-{stem}{target.suffix}"), table_name=name)
        for name, stem in stems.items()
    ]


def accuracy_grid(metrics: Mapping[str, Any]) -> Any:
    """Returns a table of the accuracies, each beside the most that a sample of this size can reach."""
    from simulacra.client._tables import Grid

    kinds = ("overall", "univariate", "bivariate", "coherence")
    accuracies = {name: found.get("accuracy") or {} for name, found in metrics.items()}
    shown = [
        kind for kind in kinds if any(accuracy.get(kind) is not None for accuracy in accuracies.values())
    ]
    rows = tuple(
        (name, *(_with_ceiling(accuracy.get(kind), accuracy.get(f"{kind}_max")) for kind in shown))
        for name, accuracy in accuracies.items()
    )
    return Grid("Accuracy (and the most that is possible)", ("table", *shown), rows)


def _with_ceiling(value: float | None, ceiling: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" + (f" (of {ceiling:.1%})" if ceiling is not None else "")
