"""Medians of rounds, tables on standard output, and result files."""

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

__all__ = ["Column", "Row", "Table", "median_rows", "results_folder", "write_results"]

_RESULTS: Final = Path(__file__).parent / "results"

Row = Mapping[str, Any]
"""The figures of one client; `client` is its name."""


def results_folder(*, quick: bool = False) -> Path:
    """Return the folder of the result files, which exists."""
    folder = _RESULTS / "quick" if quick else _RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_results(name: str, *, quick: bool = False, **figures: Any) -> None:
    """Write the figures with date and machine as NAME.json."""
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        **figures,
    }
    path = results_folder(quick=quick) / f"{name}.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    print(f"wrote {path}", flush=True)


@dataclass(frozen=True)
class Column:
    """A figure of each row, its format, and whether the chart has it."""

    key: str
    title: str
    format_spec: str = "{:,.0f}"
    plotted: bool = False

    def format_value(self, row: Row) -> str:
        """Return the figure as text."""
        value = row.get(self.key)
        return "-" if value is None else self.format_spec.format(value)


@dataclass(frozen=True)
class Table:
    """The presentation of one comparison."""

    name: str
    title: str
    subtitle: str
    columns: Sequence[Column]
    highlighted: Collection[str] = ()

    def format_rows(self, rows: Sequence[Row]) -> str:
        """Return the rows as an aligned table."""
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
        """Print the rows, write them with their rounds as JSON, and draw the chart."""
        from benchmarks.charts import BarPanel, write_bar_chart  # loads matplotlib

        subtitle = f"{workload}, {self.subtitle}"
        machine = f"{datetime.now(UTC).date()}, {os.cpu_count()} CPUs, {platform.system()} {platform.machine()}"
        machine += f", Python {platform.python_version()}"
        print(f"\n{self.title}\n{subtitle}\n{machine}\n\n{self.format_rows(rows)}\n")
        write_results(self.name, quick=quick, **details, rows=list(rows), rounds=list(rounds))
        panels = [
            BarPanel(column.title, [row.get(column.key) for row in rows], [column.format_value(row) for row in rows])
            for column in self.columns
            if column.plotted
        ]
        names = [str(row["client"]) for row in rows]
        path = results_folder(quick=quick) / f"{self.name}.svg"
        write_bar_chart(path, self.title, f"{subtitle}; {machine}", names, panels, self.highlighted)


def median_rows(rounds: Sequence[Row], *, use_maximum: Collection[str] = ()) -> list[Row]:
    """Return one row per client with the median or maximum of each figure."""
    clients: dict[str, list[Row]] = {}
    for row in rounds:
        clients.setdefault(row["client"], []).append(row)
    return [{key: _combine_values(key, rows, use_maximum) for key in rows[0]} for rows in clients.values()]


def _combine_values(key: str, rows: Sequence[Row], use_maximum: Collection[str]) -> Any:
    values = [row[key] for row in rows if row.get(key) is not None]
    if not values or not isinstance(values[0], (int, float)):
        return values[0] if values else None
    return max(values) if key in use_maximum else round(median(values), 4)
