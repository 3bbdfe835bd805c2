"""`simulacra qa`: judges a synthetic table against the original, from files, in this process.

It uses the qa service as the library that it is: no platform is started, so the answer comes as fast as the
numbers can be computed.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulacra.cli.output import console, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulacra_qa.evaluation import Context, Evaluation

__all__ = ["Task", "run"]


@dataclass(frozen=True, slots=True)
class Task:
    """What to judge, how, and where to put what came of it."""

    training: Path
    holdout: Path | None
    synthetic: Path
    report: Path | None = None
    metrics: Path | None = None
    reference: str = "training"
    key: str | None = None
    context: tuple[Path, Path | None, Path] | None = None
    context_key: str | None = None
    target: str | None = None
    embed: bool = True
    seed: int = 0
    title: str = ""


def run(task: Task, *, as_json: bool) -> None:
    """Judges and says what came of it."""
    _check(task)
    _need_library()
    from simulacra_qa.intent import Intent
    from simulacra_qa.report import Heading, render
    from simulacra_qa.results import metrics_document

    started = time.monotonic()
    with _progress(shown=not as_json) as told:
        evaluation = _evaluate(task, told)
    document = Intent().document(metrics_document(evaluation), evaluation)
    if task.metrics:
        task.metrics.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if task.report:
        title = task.title or task.synthetic.name
        task.report.write_text(render(evaluation, Heading(title=title)), encoding="utf-8")
    written = {"report": task.report, "metrics_file": task.metrics}
    summary = {
        **{
            name: document[name]
            for name in ("headline", "metrics", "verdicts", "findings", "rows", "reference", "seed")
        },
        **{name: str(path) if path else None for name, path in written.items()},
        "seconds": round(time.monotonic() - started, 2),
    }
    if as_json:
        print_json(summary)
    else:
        _show(summary)


def _evaluate(task: Task, told: "Callable[[int, int], None]") -> "Evaluation":
    from simulacra_qa.evaluation import Evaluation, Options, evaluation_steps
    from simulacra_qa.families import with_relation
    from simulacra_qa.files import read_table
    from simulacra_qa.metrics.accuracy import Reference

    training = read_table(task.training, role="TRAINING")
    holdout = read_table(task.holdout, role="HOLDOUT") if task.holdout else None
    synthetic = read_table(task.synthetic, role="SYNTHETIC")
    options = Options(
        reference=Reference(task.reference),
        seed=task.seed,
        key=task.key,
        target=task.target,
        embed=task.embed,
    )
    context = _context(task)
    for step in evaluation_steps(training, holdout, synthetic, options, context):
        if isinstance(step, Evaluation):
            if context is None or task.context is None:
                return step
            names = {"child": task.synthetic.stem, "parent": task.context[2].stem}
            return with_relation(step, (training, holdout, synthetic), context, **names)
        told(step.value, step.max)
    raise AssertionError("the last step is the evaluation")


def _context(task: Task) -> "Context | None":
    from simulacra.errors import InvalidArgument
    from simulacra_qa.evaluation import Context
    from simulacra_qa.files import read_table

    if task.context is None:
        if task.context_key is not None:
            raise InvalidArgument.of("--context-key", "names a column of --context; give that too")
        return None
    if task.context_key is None or task.key is None:
        raise InvalidArgument.of("--context", "give --key, and --context-key, the column that it refers to")
    if (task.context[1] is None) != (task.holdout is None):
        raise InvalidArgument.of("--context", "a holdout and its context go together; - for none of both")
    training, holdout, synthetic = (
        read_table(path, role="--context") if path else None for path in task.context
    )
    assert training is not None
    assert synthetic is not None
    return Context(training, holdout, synthetic, task.context_key)


def _check(task: Task) -> None:
    """Refuses, before the work starts, places that cannot be written to and options that say nothing."""
    from simulacra.errors import InvalidArgument

    if task.holdout is None and task.reference != "training":
        raise InvalidArgument.of("--reference", f"{task.reference} needs a HOLDOUT; give one instead of -")
    given = {
        file.resolve()
        for file in (task.training, task.holdout, task.synthetic, *(task.context or ()))
        if file
    }
    for name, file in (("--report", task.report), ("--metrics", task.metrics)):
        if file is None:
            continue
        if file.is_dir():
            raise InvalidArgument.of(name, f'"{file}" is a folder; give a file')
        if file.resolve() in given:
            raise InvalidArgument.of(name, f'"{file}" holds the data to judge; give another file')
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InvalidArgument.of(name, f'the folder "{file.parent}" cannot be made: {reason}') from error
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise InvalidArgument.of(name, f'"{file}" cannot be written to')
    if task.report and task.metrics and task.report.absolute() == task.metrics.absolute():
        raise InvalidArgument.of("--metrics", f'"{task.metrics}" is where the report goes; give another file')


def _need_library() -> None:
    from importlib.util import find_spec

    from simulacra.errors import DriverMissing

    missing = [name for name in ("scipy", "sklearn", "threadpoolctl") if find_spec(name) is None]
    if missing:
        raise DriverMissing(
            f'`simulacra qa` needs {", ".join(missing)}: pip install "simulacra[qa]"', extra="qa"
        )


@contextmanager
def _progress(*, shown: bool) -> "Iterator[Callable[[int, int], None]]":
    """Draws a bar on standard error, if that is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("Comparing"), BarColumn(), TimeElapsedColumn())
    screen = console(stderr=True)
    with Progress(
        *columns, console=screen, transient=True, disable=not shown or not screen.is_terminal
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda value, most: bar.update(task, completed=value, total=most)


_STYLES = {"good": "green", "fair": "yellow", "poor": "bold red", "note": "cyan"}


def _show(summary: dict[str, Any]) -> None:
    """Prints the accuracies, a line for each verdict, and what stands out."""
    from rich.text import Text

    from simulacra.cli.synthesize import accuracy_grid

    out = console()
    out.print(accuracy_grid({"synthetic": summary["metrics"]}))
    above = summary["headline"]
    out.print(Text(above["text"], style=_STYLES.get(above["level"], "")), soft_wrap=True)
    verdicts = sorted(summary["verdicts"].items(), key=lambda named: named[0] != "overall")
    lines = [
        *((item["level"], f"{name}: {item['text']}") for name, item in verdicts),
        *((item["level"], item["text"]) for item in summary["findings"]),
    ]
    for level, text in lines:
        out.print(Text.assemble((f"{level:>5}  ", _STYLES.get(level, "")), text), soft_wrap=True)
    rows = summary["rows"]
    out.print(
        f"{rows['synthetic']:,} synthetic rows against {rows['training']:,} training and {rows['holdout']:,} "
        f"holdout rows in {summary['seconds']:.1f} s.",
        highlight=False,
        soft_wrap=True,
    )
    for path in (summary["report"], summary["metrics_file"]):
        if path:
            out.print(path, highlight=False, soft_wrap=True)
