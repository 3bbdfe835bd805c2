"""Runs a real Chromium on a page, and axe-core in it; both are tools of tests only."""

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

from tests.require import require

__all__ = ["Browser", "axe_source"]

AXE = "axe-core@4.14.1"
_SECONDS = 60
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    # What the page would load from anywhere is not found.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
_PROBE = """
<script>
window.problems = [];
window.alert = (text) => window.problems.push("alert " + text);
window.addEventListener("error", (event) => window.problems.push(String(event.message)));
</script>
"""


class Browser:
    """A headless Chromium with a profile of its own."""

    def __init__(self, folder: Path) -> None:
        found = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
        require("chromium", found is not None, "there is no chromium")
        self._command = [str(found), *_QUIET, f"--user-data-dir={folder / 'profile'}"]
        self._folder = folder

    def ask(self, page: str, script: str, *, theme: str = "light", width: int = 1300) -> Any:
        """Returns the JSON value that a script in the page gives; `problems` has errors and alerts so far.

        Args:
            page: The HTML.
            script: The body of an async function.
            theme: Put on the page as its button would.
            width: Of the window, in pixels.
        """
        # Only what follows the page's own policy is allowed, as in a real visit.
        head, rest = page.split("<style>", 1)
        body, end = rest.rsplit("</body>", 1)
        asking = (
            "<script>(async () => {" + script + "})().catch((error) => ({failed: String(error)}))"
            '.then((value) => { const e = document.createElement("pre"); e.id = "answer";'
            "e.textContent = JSON.stringify(value); document.body.append(e); })</script>"
        )
        path = self._folder / "page.html"
        text = f"{head}{_PROBE}<style>{body}{asking}</body>{end}"
        path.write_text(text.replace("<html ", f'<html data-theme="{theme}" ', 1), encoding="utf-8")
        dom = self._run(
            f"--window-size={width},1000", "--virtual-time-budget=20000", "--dump-dom", path.as_uri()
        )
        answer = re.search(r'<pre id="answer">(.*?)</pre>', dom, re.DOTALL)
        assert answer is not None, "the page gave no answer"
        return json.loads(unescape(answer[1]))

    def screenshot(self, page: Path, target: Path) -> None:
        """Draws a page into a PNG file."""
        self._run("--window-size=1300,1000", f"--screenshot={target}", page.as_uri())

    def print(self, page: Path, target: Path) -> None:
        """Prints a page into a PDF file."""
        self._run("--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri())

    def _run(self, *arguments: str) -> str:
        command = [*self._command, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout


def axe_source() -> str:
    """Returns axe-core's code, which npm brings into a cache the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "simulacra-tests" / AXE
    file = cache / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists():
        npm = shutil.which("npm")
        require("axe", npm is not None, "there is no npm to install axe-core with")
        cache.mkdir(parents=True, exist_ok=True)
        options = ["--prefix", str(cache), "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(
            [str(npm), "install", *options, AXE], capture_output=True, text=True, timeout=90
        )
        require("axe", done.returncode == 0, f"axe-core cannot be installed: {done.stderr.strip()[-200:]}")
    return file.read_text()
