"""Names: which one was probably meant, how they are shown, and files that are called after them."""

import difflib
import re
from collections.abc import Iterable

__all__ = ["CONTROL_CHARACTERS", "did_you_mean", "file_stems", "safe_file_name", "visible"]

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""C0 and C1, of which a terminal makes commands."""


def visible(text: str) -> str:
    r"""Returns text with its control characters spelt out, such as `\x1b`, so that no terminal obeys them."""
    return CONTROL_CHARACTERS.sub(lambda found: repr(found[0])[1:-1], text)


def safe_file_name(name: str) -> str:
    """Returns a name without anything that a file system or a shell takes for something else."""
    return re.sub(r"[^\w .-]+", "_", name).strip(" .")[:128] or "data"


def file_stems(names: Iterable[str]) -> dict[str, str]:
    """Returns a file's name without ending for each name, no two the same on any file system."""
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = stem = safe_file_name(name)
        number = 2
        while stem.lower() in taken:
            stem, number = f"{base}_{number}", number + 1
        taken.add(stem.lower())
        stems[name] = stem
    return stems


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean "age"?`, or the known names if none is close and they are few."""
    names = list(dict.fromkeys(known))
    if close := difflib.get_close_matches(name, names, n=1, cutoff=0.6):
        return f'; did you mean "{close[0]}"?'
    folded = {candidate.casefold(): candidate for candidate in names}
    if name.casefold() in folded:
        return f'; did you mean "{folded[name.casefold()]}"?'
    if not names:
        return "; there is none"
    listed = ", ".join(f'"{candidate}"' for candidate in names[:10])
    return f"; there is {listed}" + (f" and {len(names) - 10} more" if len(names) > 10 else "")
