"""Rule: `asyncgg tune` as a person types it: its results, its files, and each thing it refuses."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from asyncgg.settings import load_settings
from tests.integration.cli.conftest import StartSimulator, surroundings
from tests.support.command_line import CommandRunner

__all__ = ["surroundings"]  # an autouse fixture: an empty folder, no AWS configuration of the user

SMALL = ("--batches", 30, "--cores", 5, "--rates", "15,30", "--bursts", "auto", "--concurrencies", "2,8", "--jobs", 1)


def test_offline_with_all_its_results(cli: CommandRunner, tmp_path: Path) -> None:
    """JSON, CSV and the settings' file agree on the point, which was confirmed in real time as well."""
    output_options = ("--json", "--out", "t.csv", "--write", "asyncgg.toml")
    fast = ("--quota", 200, "--rates", "100,200", "--latency", "20ms", "--jitter", "0")
    ended = cli("tune", *SMALL, *fast, "--quiet", *output_options)
    assert ended.code == 0
    report = ended.json
    assert (report["schema"], report["mode"], report["never_throttled"]) == ("asyncgg.tune/1", "offline", True)
    settings = report["settings"]
    assert settings["concurrency"] == 8
    assert len(report["trials"]) == 4
    assert report["confirmed"][0]["real_time"]["throttled"] == 0
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rate"] for row in rows if row["chosen"] == "1"] == [str(settings["rate"])]
    assert load_settings(config=tmp_path / "asyncgg.toml").rate == settings["rate"]


def test_offline_for_a_person(cli: CommandRunner) -> None:
    """A table, the recommendation with its reasons, and the block to copy."""
    ended = cli("tune", *SMALL, "--no-confirm")
    assert ended.code == 0
    assert "recommended  rate 30" in ended.out
    assert "without one throttle" in ended.out
    assert ended.out.rstrip().endswith("rate = 30.0\nconcurrency = 8\nper_core = 4")


@pytest.mark.parametrize("name", ["t.svg", "t.png", "t.html"])
def test_pictures(cli: CommandRunner, tmp_path: Path, name: str) -> None:
    """Each kind is drawn, and needs nothing but itself."""
    pytest.importorskip("matplotlib")
    ended = cli("tune", *SMALL, "--no-confirm", "--quiet", "--plot", name)
    assert (ended.code, ended.err) == (0, "")
    content = (tmp_path / name).read_bytes()
    start = {"t.svg": b"<?xml", "t.png": b"\x89PNG", "t.html": b"<!doctype html>"}[name]
    assert content.startswith(start)
    assert len(content) > 5000
    if name == "t.html":
        assert b"<script" not in content
        assert b"<svg" in content
        assert b"src=" not in content


def test_without_matplotlib_one_line_says_how(
    cli: CommandRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is told before the work, and nothing is written."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = cli("tune", *SMALL, "--plot", "t.png")
    assert ended.code == 2
    assert ended.err == "error: pictures need matplotlib: pip install 'asyncgg[plots]'\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--plot", "t.gif"], "t.gif: a picture is .svg, .png, .html"),
        (["--quota", "many"], "--quota: 'many' is no number"),
        (["--quota", "0"], "a quota must be above 0"),
        (["--latency", "soon"], "--latency: 'soon' must be a duration"),
        (["--retry-after", "x"], "--retry-after"),
        (["--rates", "1,x"], "--rates: 'x' is not a number above 0"),
        (["--bursts", "0.5"], "--bursts: 0.5 is less than 1"),
        (["--batches", "0"], "1 batch"),
        (["--batches", "9" * 30], "10,000,000 batches at most"),
        (["--jobs", "-1"], "--jobs: 1 process or more"),
        (["--quota", "1e-300"], "--quota: 1e-300 is less than"),
        (["--rates", "1e-300"], "--rates: 1e-300 is less than"),
        (["--write", "/dev/zero", "--replace"], "/dev/zero: it is a device"),
        (["--out", "none/t.csv"], "none/t.csv: it cannot be written: there is no such directory"),
        (["--out", "same.toml", "--write", "same.toml"], "same.toml: --write goes there already"),
        (["--service", "none.toml"], "none.toml: there is no such file"),
        (["--replace"], "--replace goes with --write FILE only"),
        (["--max-rate", "5"], "--max-rate goes with --live only"),
        (["--duration", "5s"], "--duration goes with --live only"),
        (["--live", "--quota", "3"], "--quota does not go with --live"),
        (["--live", "--yes", "--duration", "never", "--region", "eu-west-1"], "--duration: 'never' must be a duration"),
        (["--live", "--yes", "--max-rate", "x", "--region", "eu-west-1"], "--max-rate: 'x'"),
        (["--live", "--region", "eu-west-1"], "no terminal to confirm on"),
        (["--replay", "none.journal"], "none.journal: there is no such file"),
        (["--replay", "x", "--live"], "two ways"),
        (["--replay", "x", "--jitter", "1s"], "--jitter does not go with --replay"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_rubbish_is_one_line(cli: CommandRunner, arguments: list[str], words: str) -> None:
    """Exit code 2, and what is wrong in a line; nothing is sent or tried."""
    ended = cli("tune", *arguments)
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert ended.out == ""


@pytest.mark.parametrize("way", ["--replay", "--service"])
@pytest.mark.parametrize("option", ["--out", "--write", "--plot"])
def test_results_never_go_over_what_they_are_made_from(
    cli: CommandRunner, tmp_path: Path, way: str, option: str
) -> None:
    """A journal and a service's file stay as they are, also behind a link."""
    source = tmp_path / "source"
    source.write_text("quota = 20\n")
    (tmp_path / "link.svg").symlink_to(source)
    replace = ("--replace",) if option == "--write" else ()
    ended = cli("tune", *SMALL, "--no-confirm", way, "source", option, "link.svg", *replace)
    assert ended.code == 2
    assert "link.svg: that would overwrite the" in ended.err
    assert source.read_text() == "quota = 20\n"


def test_live_asks_for_cores_and_for_nothing_else(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """Whatever it finds, every request the service saw was ListCoreDevices, in the time and at the pace allowed."""
    simulator = serve(rate=20.0, burst=4.0, latency_ms=10.0)
    ended = cli("tune", "--live", "--yes", "--quiet", "--json", "--duration", "2s", "--max-rate", 60, "--out", "asked.csv")
    assert ended.code == 0
    report: dict[str, Any] = ended.json
    counters = simulator.service.counters.summary()
    assert list(counters["requests"]) == ["ListCoreDevices"]
    assert report["requests"]["sent"] == counters["total"]
    assert report["quota"]["code"] == "L-7A577824"
    assert "nobody else was asked" in report["quota"]["applied_unknown_reason"]
    assert report["rate"] == pytest.approx(20, rel=0.3)
    assert report["seconds"] < 5
    with (tmp_path / "asked.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert 0 <= report["requests"]["sent"] - len(rows) < 5  # at the end some are still under way
    assert {row["outcome"] for row in rows} == {"accepted", "throttled"}


def test_live_says_that_it_may_not_read(cli: CommandRunner, serve: StartSimulator) -> None:
    """Without the permission it ends with code 5 and names it."""
    serve(fault=("deny",))
    ended = cli("tune", "--live", "--yes", "--quiet", "--duration", "4s")
    assert ended.code == 5
    assert "greengrass:ListCoreDevices" in ended.err


def test_live_tells_its_plan_as_json_lines(cli: CommandRunner, serve: StartSimulator) -> None:
    """With --log-format json what it is going to cost is a line a program can read."""
    serve(rate=1000.0, burst=100.0)
    ended = cli("tune", "--live", "--yes", "--duration", "1s", "--max-rate", 3, "--log-format", "json", "--json")
    assert ended.code == 0
    plan = json.loads(ended.err.splitlines()[0])
    assert (plan["event"], plan["max_rate"], plan["seconds"]) == ("plan", 3, 1)
    assert ended.json["rate"] is None
