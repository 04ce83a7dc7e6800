"""Records `asyncgg demo` on a terminal as docs/images/demo.svg."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

IMAGE = Path(__file__).parent / "images" / "demo.svg"
WIDTH = 100
_CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\r?\n|\r")


def record(command: list[str], folder: str) -> str:
    """What `command` writes to a terminal of WIDTH columns in `folder`."""
    controller, terminal = pty.openpty()
    env = os.environ | {"COLUMNS": str(WIDTH), "LINES": "40", "TERM": "xterm-256color", "NO_PROXY": "127.0.0.1"}
    process = subprocess.Popen(command, cwd=folder, env=env, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    chunks = []
    try:
        while chunk := os.read(controller, 65536):
            chunks.append(chunk)
    except OSError:  # end of the terminal, on Linux
        pass
    process.wait()
    return b"".join(chunks).decode()


def screen(stream: str) -> list[str]:
    """The lines that `stream` leaves on a terminal, with their colours; lines are redrawn from their start only."""
    lines = [""]
    row = at = 0
    for match in [*_CONTROL.finditer(stream), None]:
        text = stream[at : match.start() if match else len(stream)]
        lines[row] += text
        if match is None:
            break
        at = match.end()
        argument, kind = match[1], match[2]
        if match[0] == "\r":
            lines[row] = ""
        elif match[0].endswith("\n"):
            row += 1
            if row == len(lines):
                lines.append("")
            else:
                lines[row] = ""
        elif kind == "m":
            lines[row] += match[0]
        elif kind == "A":
            row = max(0, row - int(argument or 1))
        elif kind == "K" and argument == "2":
            lines[row] = ""
    while lines and not re.sub(r"\x1b\[[\d;]*m", "", lines[-1]).strip():
        lines.pop()
    return lines


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        stream = record([sys.executable, "-m", "asyncgg", "demo"], folder)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("$ asyncgg demo"))
    for line in screen(stream):
        console.print(Text.from_ansi(line), soft_wrap=False)
    console.print()
    # Without Rich's web fonts: the picture loads nothing from elsewhere.
    template = re.sub(r"@font-face \{\{.*?\}\}|<!--.*?-->", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    template = template.replace("Fira Code, monospace", "ui-monospace, DejaVu Sans Mono, Menlo, Consolas, monospace")
    svg = console.export_svg(title="asyncgg demo", theme=MONOKAI, code_format=template, unique_id="demo")
    IMAGE.write_text("\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n", encoding="utf-8")
    print(f"wrote {IMAGE}")


if __name__ == "__main__":
    main()
