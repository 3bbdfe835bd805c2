"""Words for error messages: which name was probably meant."""

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


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
