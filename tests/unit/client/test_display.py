"""Resources and jobs as tables, in terminals and notebooks."""

from datetime import UTC, datetime, timedelta
from io import StringIO

from rich.console import Console

from simulacra.client import Generator, Simulacra
from simulacra.client._progress import failure_of, job_display, job_html, job_renderable
from simulacra.client._tables import Grid, ResourceList, cell
from simulacra.domain import (
    Accuracy,
    GeneratorListItem,
    Job,
    JobKind,
    JobProgress,
    Metadata,
    ModelMetrics,
    ProgressStatus,
    ProgressStep,
    ProgressValue,
    SourceTable,
    StepCode,
)

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def job(status: ProgressStatus = ProgressStatus.IN_PROGRESS, *, error: str | None = None) -> Job:
    step = ProgressStep(
        id="s2",
        model_label="<people>:tabular",
        step_code=StepCode.TRAIN_MODEL,
        start_date=NOW - timedelta(seconds=75),
        progress=ProgressValue(value=1, max=4),
        status=ProgressStatus.FAILED if error else ProgressStatus.IN_PROGRESS,
        messages=[{"epoch": 1.0}, {"epoch": 2.0, "val_loss": 0.123456, "steps": 7}],
        error_message=error,
    )
    pulled = ProgressStep(id="s1", step_code=StepCode.PULL_TRAINING_DATA, status=ProgressStatus.DONE)
    progress = JobProgress(
        id="j1", start_date=NOW - timedelta(seconds=80), status=status, steps=[pulled, step]
    )
    return Job(
        progress=progress,
        kind=JobKind.TRAINING,
        resource_uri="generators/g1",
        resource_name="census",
        owner_id="u1",
        cancel_requested=False,
        revision=1,
    )


def printed(renderable: object, *, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_job_is_drawn_with_its_steps_and_their_last_message() -> None:
    text = printed(job_renderable(job(), now=NOW))
    assert "Training · census" in text
    assert "0:01:20" in text
    assert "Train model" in text
    assert "25%" in text
    assert "epoch 2  val_loss 0.1235" in text


def test_html_escapes_what_users_name() -> None:
    html = job_html(job(), now=NOW)
    assert "&lt;people&gt;" in html
    assert "<people>" not in html
    assert "value='0.250'" in html


def test_the_failed_step_says_why() -> None:
    failed = job(ProgressStatus.FAILED, error='column "a" has no values')
    reason, step = failure_of(failed.progress)
    assert reason == 'Train model of <people>:tabular: column "a" has no values'
    assert step is not None
    assert step.id == "s2"


def test_without_a_terminal_each_change_of_a_step_is_one_line() -> None:
    console = Console(file=StringIO(), width=200)
    display = job_display(console=console)
    for _ in range(3):
        display.show(job())
    display.show(job(ProgressStatus.FAILED, error="no luck"))
    display.close()
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines == [
        "Pull training data DONE",
        "<people>:tabular: Train model IN_PROGRESS",
        "<people>:tabular: Train model FAILED: no luck",
    ]


def test_a_terminal_keeps_the_last_state() -> None:
    console = Console(file=StringIO(), width=120, force_terminal=True)
    display = job_display(console=console, interval=0.1)
    display.show(job())
    display.show(job(ProgressStatus.DONE))
    display.close()
    assert "census" in console.file.getvalue()  # type: ignore[attr-defined]


def generator() -> Generator:
    table = SourceTable(
        id="t1",
        name="people",
        columns=[],
        model_metrics=ModelMetrics(accuracy=Accuracy(overall=0.98765)),
        total_rows=24421,
    )
    return Generator(
        id="g1",
        name="<b>census</b>",
        training_status=ProgressStatus.DONE,
        metadata=Metadata(created_at=NOW),
        accuracy=0.98765,
        tables=[table],
    )


def test_a_resource_shows_as_tables() -> None:
    html = generator()._repr_html_()
    assert "&lt;b&gt;census" in html
    assert "0.9876" in html or "0.9877" in html
    text = printed(generator())
    assert "training_status" in text
    assert "Generator.tables" in text
    assert "24,421" in text


def test_a_listing_shows_as_one_table() -> None:
    item = GeneratorListItem(id="g1", name="a", training_status=ProgressStatus.NEW, metadata=Metadata())
    items = ResourceList([item], total_count=7)
    assert "Generator: 1 of 7" in printed(items)
    assert "<table>" in items._repr_html_()
    assert printed(ResourceList()) == "Nothing found\n"


def test_a_listing_has_short_cells_and_no_objects() -> None:
    text = printed(ResourceList([job(), job(ProgressStatus.DONE)]))
    assert "=" not in text
    assert all(word in text for word in ("j1", "IN_PROGRESS", "TRAINING", "census", "2024-05-06"))
    assert len([line for line in text.splitlines() if "j1" in line]) == 2
    tables = printed(generator(), width=160)
    assert "0.9876" in tables or "0.9877" in tables
    assert cell(ProgressValue(value=1, max=4)) == "25%"


def test_a_resource_prints_as_its_tables_and_is_short_elsewhere() -> None:
    shown = generator()
    text = str(shown)
    assert "Generator.tables" in text
    assert "24,421" in text
    assert "SourceTable(" not in text
    assert "\x1b" not in text
    assert repr(shown) == "Generator(id='g1', name='<b>census</b>', training_status='DONE')"
    assert repr(Simulacra("localhost:1")) == "<Simulacra, not connected yet>"
    item = GeneratorListItem(id="g1", name="a", training_status=ProgressStatus.NEW, metadata=Metadata())
    assert str(ResourceList([item], total_count=7)).startswith("Generator: 1 of 7\n")
    assert str(ResourceList()) == "Nothing found"


def test_a_terminal_is_not_given_the_control_characters_of_data() -> None:
    evil = "\x1b[2Jx\x9b31m\r\n"
    item = generator()
    item.description = evil
    shown = [str(item), printed(item), str(ResourceList([item])), cell({evil: evil}), cell([evil])]
    shown += [printed(Grid(evil, (evil,), ((evil,),))), printed(job_renderable(job(error=evil), now=NOW))]
    for text in shown:
        assert not set(text) & {"\x1b", "\x9b", "\r"}
        assert r"\x1b[2Jx\x9b31m\r\n" in text


def test_a_seed_is_no_quantity() -> None:
    item = generator()
    item.seed = 1234567
    assert "1234567" in str(item)


def test_cells_are_short() -> None:
    assert cell(None) == ""
    assert cell(True) == "yes"
    assert cell(1234567) == "1,234,567"
    assert cell(0.123456789) == "0.1235"
    assert cell(b"abc") == "3 bytes"
    assert cell({"a": 1}) == "a=1"
