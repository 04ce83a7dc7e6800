"""Renders the report of a run as a self-contained HTML page."""

# The page has no scripts and loads nothing. Every value must be escaped.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Final

from asyncgg.formatting import format_duration, format_timestamp
from asyncgg.journal import OutcomeRow
from asyncgg.models import Operation, Summary
from asyncgg.report.summary import format_summary, next_commands

MAX_ROWS: Final = 500
"""Maximum number of failures on the page; `--failures` writes all of them."""

_TITLES: Final = {
    Operation.DISASSOCIATE: "Disassociation of client devices",
    Operation.ASSOCIATE: "Association of client devices",
}
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --bad: #c0392b; --good: #2e8b57; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.figures { display: flex; flex-wrap: wrap; gap: 2.5rem; margin: 1.5rem 0; }
.figures b { display: block; font-size: 1.9rem; font-variant-numeric: tabular-nums; }
.bar { display: flex; height: .8rem; border-radius: .4rem; overflow: hidden; background: var(--line); }
.good { background: var(--good); } .bad { background: var(--bad); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
pre { white-space: pre-wrap; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: anywhere; } .number { text-align: right; font-variant-numeric: tabular-nums; }
footer { margin-top: 3rem; font-size: .85rem; opacity: .7; }
"""


def render_html(
    summary: Summary,
    meta: Mapping[str, str],
    failures: Iterable[OutcomeRow],
    *,
    generated_at: float,
    reason: str = "",
    verification: str = "",
) -> str:
    """Render the page with the first `MAX_ROWS` of `failures`.

    `generated_at` is in seconds since 1970; `verification` describes the last verification, if any.
    """
    title = _TITLES[summary.operation]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{title}: {escape(summary.run)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            f"<p>{escape(_headline(summary, reason))}</p>",
            _figures(summary),
            _bar(summary),
            "<h2>The run</h2>",
            _table((), [*_details(summary, meta), *([("Verified", verification)] if verification else [])]),
            *_next_list(summary),
            *_codes_table(summary),
            *_failures_table(summary, failures),
            f"<footer>asyncgg, {format_timestamp(generated_at)}, from {escape(summary.journal)}</footer>",
            "</body></html>",
            "",
        ]
    )


def _headline(summary: Summary, reason: str) -> str:
    text = format_summary(summary, reason=reason)[0]
    return f"{text[:1].upper()}{text[1:]}."


def _figures(summary: Summary) -> str:
    figures = [
        ("things", summary.total),
        (summary.operation.past_participle, summary.disassociated),
        ("already", summary.already),
        ("failed", summary.failed),
        ("pending", summary.pending),
    ]
    return f'<div class="figures">{"".join(f"<div><b>{number:,}</b>{name}</div>" for name, number in figures)}</div>'


def _bar(summary: Summary) -> str:
    total = max(summary.total, 1)
    good, bad = 100 * (summary.disassociated + summary.already) / total, 100 * summary.failed / total
    return (
        f'<div class="bar"><div class="good" style="width:{good:.3f}%"></div>'
        f'<div class="bad" style="width:{bad:.3f}%"></div></div>'
    )


def _details(summary: Summary, meta: Mapping[str, str]) -> list[tuple[str, str]]:
    created = meta.get("created", "")
    details = [
        ("Run", summary.run),
        ("Undo of" if "undo_of" in meta else "Manifest", meta.get("source", "")),
        ("Started", format_timestamp(float(created)) if created else ""),
        ("Account", meta.get("account", "")),
        ("Principal", meta.get("arn", "")),
        ("Region", meta.get("region", "")),
        ("Endpoint", meta.get("endpoint", "")),
        ("Running time", format_duration(summary.seconds)),
        ("Requests", f"{summary.sent:,} sent ({summary.minimum:,} minimum)"),
        ("Throttled", f"{summary.throttled:,}"),
        ("Retried", f"{summary.retried:,}"),
        ("Bad rows excluded", f"{summary.rejected:,}"),
        ("Repeated headers excluded", f"{summary.header_rows:,}"),
        ("Duplicates excluded", f"{summary.duplicates:,}"),
        ("Protected things excluded", f"{summary.protected:,}"),
    ]
    return [(name, value) for name, value in details if value]


def _next_list(summary: Summary) -> list[str]:
    commands = next_commands(summary)
    return ["<h2>Next</h2>", f"<pre>{escape(chr(10).join(commands))}</pre>"] if commands else []


def _codes_table(summary: Summary) -> list[str]:
    if not summary.failures:
        return []
    rows = [(code or "(no code)", f"{count:,}") for code, count in summary.failures.items()]
    return ["<h2>Failures by code</h2>", _table(("Code", "Things"), rows)]


def _failures_table(summary: Summary, failures: Iterable[OutcomeRow]) -> list[str]:
    rows = [
        (row.core, row.thing, row.code, row.message, format_timestamp(row.answered_at), row.aws_request_id)
        for row in islice(failures, MAX_ROWS)
    ]
    if not rows:
        return []
    complete = summary.failed <= len(rows)
    heading = "Failed things" if complete else f"The first {len(rows):,} of {summary.failed:,} failed things"
    return [f"<h2>{heading}</h2>", _table(("Core", "Thing", "Code", "Message", "Time", "Request id"), rows)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    header = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in columns)}</tr>" if columns else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{header}{body}</table>"
