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

from benchmarks.charts import BarPanel, bar_chart

__all__ = ["Column", "Row", "Table", "median_rows"]

RESULTS: Final = Path(__file__).parent / "results"

Row = Mapping[str, Any]
"""The figures of one client; `client` is its name."""


@dataclass(frozen=True)
class Column:
    """A figure of each row, how it is written, and whether the picture shows it."""

    key: str
    title: str
    format_spec: str = "{:,.0f}"
    plotted: bool = False

    def format_value(self, row: Row) -> str:
        """The figure for people."""
        value = row.get(self.key)
        return "-" if value is None else self.format_spec.format(value)


@dataclass(frozen=True)
class Table:
    """One comparison: what is measured, and how it is shown."""

    name: str
    title: str
    subtitle: str
    columns: Sequence[Column]
    highlighted: Collection[str] = ()

    def format_rows(self, rows: Sequence[Row]) -> str:
        """The rows for a screen."""
        cells = [[column.title for column in self.columns]]
        cells += [[column.format_value(row) for column in self.columns] for row in rows]
        names = ["", *(str(row["client"]) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        first = max(map(len, names))
        return "\n".join(
            "  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(line, widths, strict=True))])
            for name, line in zip(names, cells, strict=True)
        )

    def publish(
        self, rows: Sequence[Row], workload: str, *, quick: bool, rounds: Sequence[Row] = (), **details: Any
    ) -> None:
        """Show the rows and write them, the rounds they come from, and their picture; `size` says how much work."""
        subtitle = f"{workload}, {self.subtitle}"
        date = datetime.now(UTC).strftime("%Y-%m-%d")
        machine = f"{date}, {os.cpu_count()} CPUs, {platform.system()} {platform.machine()}"
        machine += f", Python {platform.python_version()}"
        print(f"\n{self.title}\n{subtitle}\n{machine}\n\n{self.format_rows(rows)}\n")
        result: dict[str, Any] = {"date": date, "python": platform.python_version(), "cpus": os.cpu_count()}
        result |= {"machine": f"{platform.system()} {platform.machine()}", **details}
        result |= {"rows": [dict(row) for row in rows], "rounds": [dict(row) for row in rounds]}
        folder = RESULTS / "quick" if quick else RESULTS
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(result, indent=1) + "\n")
        panels = [
            BarPanel(column.title, [row.get(column.key) for row in rows], [column.format_value(row) for row in rows])
            for column in self.columns
            if column.plotted
        ]
        names = [str(row["client"]) for row in rows]
        chart = bar_chart(self.title, f"{subtitle}; {machine}", names, panels, self.highlighted)
        (folder / f"{self.name}.svg").write_text(chart)
        print(f"written: {folder / self.name}.json and .svg", flush=True)


def median_rows(rounds: Sequence[Row], *, use_maximum: Collection[str] = ()) -> list[Row]:
    """One row for each client, in the order they first came: the medians; of the figures in `worst` the highest."""
    clients: dict[str, list[Row]] = {}
    for row in rounds:
        clients.setdefault(row["client"], []).append(row)
    return [{key: _combine_values(key, rows, use_maximum) for key in rows[0]} for rows in clients.values()]


def _combine_values(key: str, rows: Sequence[Row], use_maximum: Collection[str]) -> Any:
    values = [row[key] for row in rows if row.get(key) is not None]
    if not values or not isinstance(values[0], (int, float)):
        return values[0] if values else None
    return max(values) if key in use_maximum else round(median(values), 4)
