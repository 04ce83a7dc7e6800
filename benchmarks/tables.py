"""What the comparisons have in common: medians of rounds, a table on the screen, JSON and a picture in results/."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.picture import Panel, bars

__all__ = ["Column", "Row", "Table", "combined"]

RESULTS: Final = Path(__file__).parent / "results"

Row = Mapping[str, Any]
"""The figures of one client; `client` is its name."""


@dataclass(frozen=True)
class Column:
    """A figure of each row, how it is written, and whether the picture shows it."""

    key: str
    title: str
    form: str = "{:,.0f}"
    drawn: bool = False

    def text(self, row: Row) -> str:
        """The figure for people."""
        value = row.get(self.key)
        return "-" if value is None else self.form.format(value)


@dataclass(frozen=True)
class Table:
    """One comparison: what is measured, and how it is shown."""

    name: str
    title: str
    subtitle: str
    columns: Sequence[Column]
    ours: Collection[str] = ()

    def text(self, rows: Sequence[Row]) -> str:
        """The rows for a screen."""
        cells = [[column.title for column in self.columns]]
        cells += [[column.text(row) for column in self.columns] for row in rows]
        names = ["", *(str(row["client"]) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        first = max(map(len, names))
        return "\n".join(
            "  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(line, widths, strict=True))])
            for name, line in zip(names, cells, strict=True)
        )

    def publish(
        self, rows: Sequence[Row], size: str, *, quick: bool, rounds: Sequence[Row] = (), **details: Any
    ) -> None:
        """Show the rows and write them, the rounds they come from, and their picture; `size` says how much work."""
        subtitle = f"{size}, {self.subtitle}"
        date = datetime.now(UTC).strftime("%Y-%m-%d")
        machine = f"{date}, {os.cpu_count()} CPUs, {platform.system()} {platform.machine()}"
        machine += f", Python {platform.python_version()}"
        print(f"\n{self.title}\n{subtitle}\n{machine}\n\n{self.text(rows)}\n")
        result: dict[str, Any] = {"date": date, "python": platform.python_version(), "cpus": os.cpu_count()}
        result |= {"machine": f"{platform.system()} {platform.machine()}", **details}
        result |= {"rows": [dict(row) for row in rows], "rounds": [dict(row) for row in rounds]}
        folder = RESULTS / "quick" if quick else RESULTS
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(result, indent=1) + "\n")
        panels = [
            Panel(column.title, [row.get(column.key) for row in rows], [column.text(row) for row in rows])
            for column in self.columns
            if column.drawn
        ]
        names = [str(row["client"]) for row in rows]
        drawing = bars(self.title, f"{subtitle}; {machine}", names, panels, self.ours)
        (folder / f"{self.name}.svg").write_text(drawing)
        print(f"written: {folder / self.name}.json and .svg", flush=True)


def combined(rounds: Sequence[Row], *, worst: Collection[str] = ()) -> list[Row]:
    """One row for each client, in the order they first came: the medians; of the figures in `worst` the highest."""
    clients: dict[str, list[Row]] = {}
    for row in rounds:
        clients.setdefault(row["client"], []).append(row)
    return [{key: _one(key, rows, worst) for key in rows[0]} for rows in clients.values()]


def _one(key: str, rows: Sequence[Row], worst: Collection[str]) -> Any:
    values = [row[key] for row in rows if row.get(key) is not None]
    if not values or not isinstance(values[0], (int, float)):
        return values[0] if values else None
    return max(values) if key in worst else round(median(values), 4)
