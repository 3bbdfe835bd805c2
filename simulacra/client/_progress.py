"""Jobs drawn while they run: a live table in a terminal or a notebook, lines elsewhere."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from simulacra.client._tables import STYLES
from simulacra.domain import Job, JobProgress, ProgressStatus, ProgressStep
from simulacra.domain.text import visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["ENDED", "JobDisplay", "NoDisplay", "failure_of", "job_display", "job_html", "job_renderable"]

ENDED = frozenset({ProgressStatus.DONE, ProgressStatus.FAILED, ProgressStatus.CANCELED})
"""The states that a job does not leave unless it is started again."""

BAR = 24
NOTED = ("epoch", "train_loss", "val_loss")
"""What is worth showing of a training's messages."""

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class JobDisplay(Protocol):
    """What draws jobs; it is given every state that comes."""

    def show(self, job: Job) -> None:
        """Draws a job's present state."""

    def close(self) -> None:
        """Leaves the last state on the screen and gives the cursor back."""


class NoDisplay:
    """Draws nothing."""

    def show(self, job: Job) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def job_display(*, interval: float = 2.0, console: "Console | None" = None) -> JobDisplay:
    """Returns the display that suits where this runs: a notebook, a terminal, or neither (a log, a pipe).

    Args:
        interval: Seconds after which the elapsed time is redrawn when nothing else changes.
        console: Where to draw; standard error by default, so that standard output stays the program's own.
    """
    if _in_notebook():
        return _NotebookDisplay()
    from rich.console import Console

    console = console or Console(stderr=True)
    return _TerminalDisplay(console, interval) if console.is_terminal else _LineDisplay(console)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def failure_of(progress: JobProgress | None) -> tuple[str, ProgressStep | None]:
    """Returns why a job failed: its failed step's message, and the step."""
    for step in (progress and progress.steps) or []:
        if step.status == ProgressStatus.FAILED:
            label = f" of {step.model_label}" if step.model_label else ""
            return f"{_step_name(step)}{label}: {step.error_message or 'no reason was recorded'}", step
    return "no step says why", None


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a drawn job."""

    label: str
    name: str
    status: str
    share: float
    elapsed: str
    note: str


def _rows(job: Job, now: datetime) -> list[_Row]:
    steps = (job.progress and job.progress.steps) or []
    rows, last_label = [], None
    for step in steps:
        label = step.model_label or ""
        rows.append(
            _Row(
                label=visible(label) if label != last_label else "",
                name=_step_name(step),
                status=str(step.status or ""),
                share=_share(step),
                elapsed=_elapsed(step.start_date, step.end_date, now),
                note=visible(step.error_message or _last_message(step)),
            )
        )
        last_label = label
    return rows


def _step_name(step: ProgressStep) -> str:
    return str(step.step_code or "step").replace("_", " ").capitalize()


def _share(item: JobProgress | ProgressStep) -> float:
    if item.status == ProgressStatus.DONE:
        return 1.0
    value = item.progress
    return min(1.0, (value.value or 0) / value.max) if value and value.max else 0.0


def _elapsed(start: datetime | None, end: datetime | None, now: datetime) -> str:
    if start is None:
        return ""
    return str(timedelta(seconds=max(0, round(((end or now) - start).total_seconds()))))


def _last_message(step: ProgressStep) -> str:
    message = step.messages[-1] if step.messages else {}
    known = [name for name in NOTED if name in message]
    scalars = [name for name in sorted(message) if not isinstance(message[name], dict | list)]
    return "  ".join(f"{name} {_short(message[name])}" for name in known or scalars[:3])


def _short(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.4g}"
    return str(value)


def _title(job: Job) -> str:
    kind = str(job.kind or "job").replace("_", " ").capitalize()
    return f"{kind} · {visible(job.resource_name or job.resource_uri or '')}"


def _job_status(job: Job) -> str:
    return str((job.progress and job.progress.status) or "")


def _job_elapsed(job: Job, now: datetime) -> str:
    return _elapsed(job.progress.start_date, job.progress.end_date, now) if job.progress else ""


def _bar(share: float) -> str:
    full = round(share * BAR)
    return "━" * full + "╌" * (BAR - full)


def job_renderable(job: Job, *, now: datetime) -> "RenderableType":
    """Returns what rich draws for a job."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    status = _job_status(job)
    title = Text.assemble(
        (_title(job), "bold"), "  ", (status, STYLES.get(status, "")), "  ", (_job_elapsed(job, now), "dim")
    )
    table = Table.grid(padding=(0, 2))
    for row in _rows(job, now):
        style = STYLES.get(row.status, "dim")
        table.add_row(
            Text(f"  {row.label}"),
            Text(row.name),
            Text(_bar(row.share), style),
            Text(f"{row.share:4.0%}"),
            Text(row.elapsed, "dim"),
            Text(row.note, "red" if row.status == "FAILED" else "dim"),
        )
    return Group(title, table)


def job_html(job: Job, *, now: datetime) -> str:
    """Returns a job as HTML for a notebook; every text is escaped."""
    status = _job_status(job)
    lines = "".join(
        f"<tr><td>{escape(row.label)}</td><td style='text-align:left'>{escape(row.name)}</td>"
        f"<td><progress max='1' value='{row.share:.3f}'></progress></td><td>{row.share:.0%}</td>"
        f"<td>{row.elapsed}</td><td style='text-align:left;color:{STYLES.get(row.status, 'gray')}'>"
        f"{escape(row.note or row.status)}</td></tr>"
        for row in _rows(job, now)
    )
    colour = STYLES.get(status, "gray")
    head = (
        f"<p><b>{escape(_title(job))}</b> <span style='color:{colour}'>{escape(status)}</span> "
        f"{_job_elapsed(job, now)}</p>"
    )
    return f"{head}<table><tbody>{lines}</tbody></table>"


class _JobsView:
    """All jobs seen so far, drawn anew each time that rich asks."""

    def __init__(self, clock: Clock) -> None:
        self.jobs: dict[str, Job] = {}
        self._clock = clock

    def keep(self, job: Job) -> None:
        self.jobs[(job.progress and job.progress.id) or job.resource_uri or ""] = job

    def __rich__(self) -> "RenderableType":
        from rich.console import Group

        return Group(*(job_renderable(job, now=self._clock()) for job in self.jobs.values()))


class _TerminalDisplay:
    def __init__(self, console: "Console", interval: float, clock: Clock = _now) -> None:
        from rich.live import Live

        self._view = _JobsView(clock)
        rate = 1 / max(0.1, min(interval, 60.0))
        self._live = Live(self._view, console=console, refresh_per_second=rate, redirect_stdout=False)

    def show(self, job: Job) -> None:
        self._view.keep(job)
        if not self._live.is_started:
            self._live.start()
        self._live.refresh()

    def close(self) -> None:
        if self._live.is_started:
            self._live.stop()


class _NotebookDisplay:
    """Updates one output cell in place; needs IPython only, no widgets."""

    def __init__(self, clock: Clock = _now) -> None:
        self._view = _JobsView(clock)
        self._clock = clock
        self._handle: Any = None

    def _repr_html_(self) -> str:
        return "".join(job_html(job, now=self._clock()) for job in self._view.jobs.values())

    def show(self, job: Job) -> None:
        from IPython.display import display  # type: ignore[import-not-found, unused-ignore]

        self._view.keep(job)
        if self._handle is None:
            self._handle = display(self, display_id=True)
        else:
            self._handle.update(self)

    def close(self) -> None:
        self._handle = None


class _LineDisplay:
    """One line for each change of a step's state."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._seen: dict[str, str] = {}

    def show(self, job: Job) -> None:
        for step in (job.progress and job.progress.steps) or []:
            status = str(step.status or "")
            key = step.id or _step_name(step)
            if self._seen.get(key) == status or status in ("", "NEW", "QUEUED"):
                continue
            self._seen[key] = status
            label = f"{step.model_label}: " if step.model_label else ""
            self._line(f"{label}{_step_name(step)} {status}", step.error_message)

    def _line(self, text: str, error: str | None) -> None:
        self._console.print(
            visible(text + (f": {error}" if error else "")), markup=False, highlight=False, soft_wrap=True
        )

    def close(self) -> None:
        pass
