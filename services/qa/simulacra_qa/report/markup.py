"""Builds HTML and SVG so that text cannot become markup: whatever is not `Markup` is escaped."""

import html
import json
from collections.abc import Iterable
from typing import Any

__all__ = ["Child", "Markup", "embed_json", "join", "tag"]

_VOID = frozenset({"meta", "input", "br", "path", "rect", "line", "use", "circle"})


class Markup(str):
    """Text that is markup already; only this module and the page's style and script make it from literals."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Makes an element: `cls` becomes class, underscores become hyphens, None is left out."""
    written = "".join(
        f' {_attribute(key)}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{written}>" if name in ("meta", "input", "br") else f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Child) -> Markup:
    """Concatenates, escaping all that is not markup."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, (str, int, float)):
        return Markup(html.escape(str(children)))
    return Markup("".join(join(child) for child in children))


def embed_json(identifier: str, value: Any) -> Markup:
    """Embeds data for the script; no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{html.escape(identifier)}">{text}</script>')


def _attribute(key: str) -> str:
    return "class" if key == "cls" else key.replace("_", "-")
