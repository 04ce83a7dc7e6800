"""Writes what the commands of the tutorials print into the blocks that are marked `<!-- output -->`."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from record_demo import screen

from tests.e2e.test_tutorials import TUTORIALS, commands, run_tutorial

FOLDER = Path(__file__).parent / "tutorials"
_BLOCK = re.compile(
    r"(^```console\n(?P<shown>(?:(?!^```).)*?)^```\n\n<!-- output -->\n```text\n).*?(^```)", re.DOTALL | re.MULTILINE
)
_COLOUR = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")


def clean(text: str, folder: str) -> str:
    """A screen as it is shown: without colours, progress bars, and what differs from run to run."""
    lines = [_COLOUR.sub("", line).rstrip() for line in screen(text)]
    bars = {number for number, line in enumerate(lines) if "━" in line}
    bars |= {number + 1 for number in bars if "━" in lines[number]}
    kept = [line for number, line in enumerate(lines) if number not in bars]
    text = "\n".join(kept).strip("\n").replace(f"{folder}/work/", "")
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8765", text) + "\n"


def write_outputs(tutorial: str) -> None:
    """Run a tutorial and write its page."""
    with tempfile.TemporaryDirectory() as folder:
        steps = run_tutorial(tutorial, Path(folder))
        screens = {step.line: clean(step.screen, folder) for step in steps}
    if steps[-1].code not in steps[-1].expected:
        raise SystemExit(f"$ {steps[-1].line}\nexit {steps[-1].code}\n{steps[-1].screen}")
    page = FOLDER / f"{tutorial}.md"
    text = page.read_text(encoding="utf-8")
    text = _BLOCK.sub(lambda match: match[1] + screens[commands(match["shown"])[-1]] + match[3], text)
    page.write_text(text, encoding="utf-8")
    print(f"wrote {page}")


def main() -> None:
    """Write the pages of the tutorials that the arguments name, else of all."""
    for tutorial in sys.argv[1:] or TUTORIALS:
        write_outputs(tutorial)


if __name__ == "__main__":
    main()
