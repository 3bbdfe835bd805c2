"""How resources look: rows and columns, drawn by rich in a terminal and as HTML in a notebook."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from html import escape
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

from simulacra.domain import (
    Accuracy,
    BaseResource,
    ConnectorField,
    ConnectorFieldCondition,
    ConnectorUsage,
    GeneratorUsage,
    Job,
    JobProgress,
    Metadata,
    ModelConfiguration,
    ModelMetrics,
    ProgressValue,
    SyntheticDatasetUsage,
)
from simulacra.domain.text import visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

__all__ = ["Grid", "ResourceList", "Shown", "cell", "grids_of"]

T = TypeVar("T", bound=BaseModel)

STYLES = {"DONE": "green", "FAILED": "red", "CANCELED": "yellow", "IN_PROGRESS": "cyan", "ON_HOLD": "magenta"}
"""The colours of the states, in the terminal and in notebooks."""


_IN_LISTINGS: dict[type[BaseModel], tuple[str, ...]] = {
    Metadata: ("created_at", "owner_name"),
    JobProgress: ("id", "status", "progress", "start_date", "end_date"),
    ModelMetrics: ("accuracy",),
    ModelConfiguration: (),
    GeneratorUsage: (),
    SyntheticDatasetUsage: (),
    ConnectorUsage: (),
}
"""What a listing has of the objects in its items, each in a column of its own; all is in the item itself."""

_NOT_IN_LISTINGS: dict[type[BaseModel], tuple[str, ...]] = {
    ConnectorField: ("pattern", "minimum", "maximum"),
    Job: ("resource_uri", "owner_id", "cancel_requested", "revision", "created_at"),
}

_NAMES_IN_DIGITS = frozenset({"seed"})
"""Numbers that are typed again, not counted; they have no separators."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A titled table of text cells; without `columns` it is a list of names and values."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __rich__(self) -> Any:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=visible(self.title) or None,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            show_header=bool(self.columns),
            pad_edge=False,
        )
        for column in self.columns or ("", ""):
            table.add_column(visible(column), overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(visible(value), style=STYLES.get(value, "")) for value in row))
        return table

    def html(self) -> str:
        """Returns the table as HTML; every value is escaped."""
        head = "".join(f"<th>{escape(column)}</th>" for column in self.columns)
        body = "".join("<tr>" + "".join(_html_cell(value) for value in row) + "</tr>" for row in self.rows)
        title = f"<p><b>{escape(self.title)}</b></p>" if self.title else ""
        return (
            f"{title}<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"
        )


def _html_cell(value: str) -> str:
    colour = STYLES.get(value)
    return f'<td style="text-align:left{f";color:{colour}" if colour else ""}">{escape(value)}</td>'


def cell(value: Any) -> str:
    """Returns a value as the text of one cell, which no terminal takes for a command."""
    if value is None:
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, ProgressValue):
        return f"{(value.value or 0) / value.max:.0%}" if value.max else ""
    if isinstance(value, Accuracy):
        return cell(value.overall)
    if isinstance(value, BaseResource):
        return visible(value.name or value.id or "")
    if isinstance(value, ConnectorFieldCondition):
        return visible(f"{value.field} = {value.value}")
    if isinstance(value, BaseModel):
        return ", ".join(f"{name}={text}" for name, text in _scalars(value) if text)
    if isinstance(value, dict):
        return ", ".join(f"{visible(str(name))}={cell(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return visible(str(value))


def _field_cell(name: str, value: Any) -> str:
    return str(value) if name in _NAMES_IN_DIGITS and value is not None else cell(value)


def _scalars(item: BaseModel) -> Iterator[tuple[str, str]]:
    for name in type(item).model_fields:
        value = getattr(item, name)
        if not _is_list_of_models(value):
            yield name, _field_cell(name, value)


def _is_list_of_models(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], BaseModel)


def grid_of_items(title: str, items: Sequence[BaseModel]) -> Grid:
    """Returns one row per item, with the columns in which at least one of them has something to show."""
    rows = [dict(_listed(item)) for item in items]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = tuple(name for name in names if any(row.get(name) for row in rows))
    return Grid(title, columns, tuple(tuple(row.get(name, "") for name in columns) for row in rows))


def _listed(item: BaseModel) -> Iterator[tuple[str, str]]:
    """Yields an item's cells: scalars, numbers of list items, and what is chosen of the objects in it."""
    for name in type(item).model_fields:
        value = getattr(item, name)
        if name in _NOT_IN_LISTINGS.get(type(item), ()):
            continue
        if _is_list_of_models(value):
            yield name, f"{len(value):,}"
        elif type(value) in _IN_LISTINGS:
            yield from ((part, cell(getattr(value, part))) for part in _IN_LISTINGS[type(value)])
        else:
            yield name, _field_cell(name, value)


def grids_of(item: BaseModel, *, title: str | None = None) -> list[Grid]:
    """Returns a resource as a list of its values, then one table for each list in it, such as `tables`."""
    kind = title or type(item).__name__.removeprefix("Async")
    values = tuple((name, text) for name, text in _scalars(item) if text)
    nested = [
        grid_of_items(f"{kind}.{name}", getattr(item, name))
        for name in type(item).model_fields
        if _is_list_of_models(getattr(item, name))
    ]
    return [Grid(kind, (), values), *nested]


def text_of(renderable: Any) -> str:
    """Returns what rich draws, as lines of plain text that fit the terminal."""
    from io import StringIO
    from shutil import get_terminal_size

    from rich.console import Console

    file = StringIO()
    width = get_terminal_size((120, 24)).columns
    Console(file=file, width=width, color_system=None, force_terminal=False).print(renderable)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).strip("\n")


class Shown(BaseModel):
    """Mixed into resource classes: they are tables in notebooks, with `print` and with `rich.print`."""

    def __str__(self) -> str:
        return text_of(self)

    def __repr__(self) -> str:
        names = (
            name for name in type(self).model_fields if name in ("id", "name") or name.endswith("status")
        )
        shown = ", ".join(f"{name}={_quoted(getattr(self, name))}" for name in names)
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self) -> str:
        return "".join(grid.html() for grid in grids_of(self))

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        yield from grids_of(self)


def _quoted(value: Any) -> str:
    return repr(str(value.value) if isinstance(value, Enum) else value)


class ResourceList(list[T], Generic[T]):
    """The items of a listing; shows as one table. `total_count` counts all that the filters match."""

    def __init__(self, items: Iterable[T] = (), *, total_count: int | None = None) -> None:
        super().__init__(items)
        self.total_count = len(self) if total_count is None else total_count

    def _title(self) -> str:
        if not self:
            return "Nothing found"
        kind = type(self[0]).__name__.removeprefix("Async").removesuffix("ListItem")
        return f"{kind}: {len(self):,} of {self.total_count:,}"

    def __str__(self) -> str:
        return text_of(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return grid_of_items(self._title(), self).html()

    def __rich__(self) -> Any:
        return grid_of_items(self._title(), self).__rich__() if self else self._title()
