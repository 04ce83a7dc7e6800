"""Tests of the report page in headless Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asyncgg.journal import CoreOutcomes
from asyncgg.report.html import render
from tests.unit.decommission.test_page import load_page
from tests.unit.fleet.test_page import render_page
from tests.unit.report.test_html import HOSTILE, make_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian package `chromium`)"),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; the programming interface of Playwright drives that of the system."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with closing(chromium):
            yield chromium


@pytest.fixture
def page_path(tmp_path: Path) -> Path:
    """A page of hostile texts, with 2,000 cores and drawn charts."""
    from asyncgg.report.charts import cores_chart

    cores = tuple(CoreOutcomes(f"core-{n:04}", 100, 100 - n % 7, 0, n % 7, n, n % 3) for n in range(2_000))
    chart = cores_chart(cores, draw=True)
    assert chart is not None
    report = replace(make_report(HOSTILE), cores=cores, core_count=2_000, charts=(chart,))
    path = tmp_path / "report.html"
    path.write_text(render("run.html", report=report), encoding="utf-8")
    return path


def _open(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    page, problems = browser.new_page(**options), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if request.url == path.as_uri() else problems.append(request.url))
    page.goto(path.as_uri())
    return page, problems


def _visible_cores(page: Any) -> list[str]:
    rows = page.locator("#cores-table tbody tr:not([hidden]) th")
    return [str(name) for name in rows.all_text_contents()]


def test_page_searches_and_sorts_thousands_of_cores(browser: Any, page_path: Path) -> None:
    """Search shows the matching rows, a click on a heading sorts; no message in the console, no request."""
    page, problems = _open(browser, page_path)
    assert len(_visible_cores(page)) == 2_000
    page.get_by_role("searchbox").fill("core-19 1")
    found = _visible_cores(page)
    assert found
    assert all("core-19" in name for name in found)
    assert page.locator("#cores-table-found").text_content() == f"{len(found)} of 2000 rows"
    page.get_by_role("searchbox").fill("")
    requests = page.get_by_role("button", name="Requests")
    requests.click()
    assert _visible_cores(page)[:2] == ["core-1999", "core-1998"]
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    requests.click()
    assert _visible_cores(page)[:2] == ["core-0000", "core-0001"]
    assert problems == []


@pytest.mark.parametrize(
    ("make_page", "table", "words"),
    [
        (lambda _: render_page(HOSTILE, 300), "targets-table", "299"),
        (lambda folder: render("decommission.html", report=load_page(folder / "j", HOSTILE)), "devices-table", "fail"),
    ],
    ids=["campaign", "decommission"],
)
def test_other_pages_search_and_fit_a_phone(
    browser: Any, tmp_path: Path, make_page: Callable[[Path], str], table: str, words: str
) -> None:
    """A table can be searched; at 390 pixels only wide tables scroll; no message in the console, no request."""
    path = tmp_path / "page.html"
    with ThreadPoolExecutor(1) as pool:  # Playwright has an event loop in this thread
        path.write_text(pool.submit(make_page, tmp_path).result(), encoding="utf-8")
    page, problems = _open(browser, path, viewport={"width": 390, "height": 844}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("searchbox").fill(words)
    assert page.locator(f"#{table} tbody tr:not([hidden])").count() == 1
    assert problems == []


def _background(page: Any, selector: str) -> tuple[int, ...]:
    color = page.eval_on_selector(selector, "element => getComputedStyle(element).backgroundColor")
    return tuple(map(int, re.findall(r"\d+", color)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_follows_the_color_scheme(browser: Any, page_path: Path, scheme: str) -> None:
    """Page and charts have the colors of the scheme, with enough contrast of text (WCAG AA)."""
    page, problems = _open(browser, page_path, color_scheme=scheme)
    assert (sum(_background(page, "body")) > 380) is (scheme == "light")
    fills = page.eval_on_selector_all("figure svg text", "all => all.map(text => getComputedStyle(text).fill)")
    assert fills
    for background in ("body", "figure"):
        for text in {tuple(map(int, re.findall(r"\d+", fill))) for fill in fills}:
            assert _contrast(text, _background(page, background)) >= 4.5
    for level in ("good", "bad", "warning", "muted"):
        color = page.evaluate(
            "level => { const p = document.createElement('p'); p.className = level; document.body.append(p);"
            " return getComputedStyle(p).color; }",
            level,
        )
        assert _contrast(tuple(map(int, re.findall(r"\d+", color))), _background(page, "body")) >= 4.5, level
    assert problems == []


def _contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """The contrast of two colors [WCAG 2.2, relative luminance]."""
    luminances = []
    for color in (one, other):
        linear = [value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in color[:3]]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def test_page_fits_a_phone(browser: Any, page_path: Path) -> None:
    """At 390 pixels nothing but wide tables scrolls sideways, and few failures of many are visible."""
    page, problems = _open(browser, page_path, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    segments = page.locator("#cores-table tbody tr").nth(1).locator(".bar i.bad")
    assert segments.bounding_box()["width"] >= 2
    assert problems == []
