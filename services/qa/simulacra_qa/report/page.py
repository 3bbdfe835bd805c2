"""Puts the sections into one standalone page: style and script inlined, nothing loaded from anywhere."""

from dataclasses import dataclass
from importlib import resources

from simulacra_qa.evaluation import Evaluation
from simulacra_qa.intent import Intent
from simulacra_qa.report.markup import Markup, join, tag
from simulacra_qa.report.sections import SECTIONS
from simulacra_qa.report.view import View

__all__ = ["Heading", "render"]

# What needs the original records, which a data report does not have.
_OF_RECORDS = ("similarity", "distances", "membership", "attacks", "utility")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True, slots=True)
class Heading:
    """What the page says above the numbers; all of it is text, whatever it contains."""

    title: str = ""
    table_name: str = ""
    subtitle: str = ""


def render(evaluation: Evaluation, heading: Heading, intent: Intent | None = None) -> str:
    """Returns the report as HTML; `intent` says what is intended to differ."""
    view = View.of(evaluation, intent or Intent())
    title = heading.title or "Quality report"
    hidden = _OF_RECORDS if view.intent.of_dataset else ()
    sections = [section for section in SECTIONS if section.anchor not in hidden]
    contents = [(section, section.render(view)) for section in sections]
    shown = [(section, content) for section, content in contents if content is not None]
    training, _, synthetic = evaluation.rows
    facts = [
        heading.table_name and f"Table {heading.table_name}",
        f"{synthetic:,} synthetic rows against {training:,} training rows",
        f"{len(evaluation.columns)} columns",
        heading.subtitle,
    ]
    menu = [tag("a", section.name, href=f"#{section.anchor}") for section, _ in shown]
    body = (
        tag("a", "Skip to the summary", href="#summary", cls="skip"),
        tag(
            "header",
            tag("p", f"Simulacra · {'data' if view.intent.of_dataset else 'quality'} report", cls="brand"),
            tag("h1", title),
            tag("p", " · ".join(fact for fact in facts if fact)),
        ),
        tag("nav", tag("div", menu, cls="menu"), tag("div", _tools(), cls="tools"), aria_label="Sections"),
        tag("main", [_section(section.anchor, section.name, content) for section, content in shown]),
        tag("div", id="tip", role="status", hidden="hidden"),
    )
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        Markup(f"<style>{_asset('style.css')}</style>"),
    )
    script = Markup(f"<script>{_asset('script.js')}</script>")
    return f"<!doctype html>\n{tag('html', tag('head', head), tag('body', body, script), lang='en')}\n"


def _section(anchor: str, name: str, content: Markup) -> Markup:
    return tag(
        "section",
        tag("h2", name, id=f"{anchor}-title"),
        content,
        id=anchor,
        aria_labelledby=f"{anchor}-title",
    )


def _tools() -> Markup:
    return join(
        (
            tag(
                "input", type="search", id="filter", placeholder="Filter columns", aria_label="Filter columns"
            ),
            tag("button", "Theme", type="button", id="theme", aria_label="Theme: light or dark"),
        )
    )


def _asset(name: str) -> str:
    return resources.files("simulacra_qa.report").joinpath(name).read_text(encoding="utf-8")
