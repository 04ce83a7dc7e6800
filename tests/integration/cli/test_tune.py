"""Tests of `asyncgg tune`: results, output files and usage errors."""

from __future__ import annotations

import csv
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from asyncgg.settings import load_settings
from tests.integration.cli.conftest import StartSimulator, aws_environment
from tests.support.command_line import CommandRunner

__all__ = ["aws_environment"]  # an autouse fixture

SMALL = ("--batches", 30, "--cores", 5, "--rates", "15,30", "--bursts", "auto", "--concurrencies", "2,8", "--jobs", 1)


def test_tune_simulated_all_outputs_agree(cli: CommandRunner, tmp_path: Path) -> None:
    """JSON, CSV and settings file have the same configuration, which is confirmed."""
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


def test_tune_simulated_prints_recommendation_and_settings(cli: CommandRunner) -> None:
    """The text output has the recommendation with its reasons and the settings to copy."""
    ended = cli("tune", *SMALL, "--no-confirm")
    assert ended.code == 0
    assert "recommended  rate 30" in ended.out
    assert "no throttles" in ended.out
    assert ended.out.rstrip().endswith("rate = 30.0\nconcurrency = 8\nper_core = 4")


@pytest.mark.parametrize(("name", "start"), [("t.svg", b"<?xml"), ("t.png", b"\x89PNG")])
def test_tune_plot_writes_each_image_format(cli: CommandRunner, tmp_path: Path, name: str, start: bytes) -> None:
    """The suffix of the file selects the image format."""
    pytest.importorskip("matplotlib")
    ended = cli("tune", *SMALL, "--no-confirm", "--quiet", "--plot", name)
    assert (ended.code, ended.err) == (0, "")
    content = (tmp_path / name).read_bytes()
    assert content.startswith(start)
    assert len(content) > 5000


def test_tune_plot_without_matplotlib_is_a_usage_error(
    cli: CommandRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error comes before the trials, and nothing is written."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = cli("tune", *SMALL, "--plot", "t.png")
    assert ended.code == 2
    assert "pip install 'asyncgg[plots]'" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "t.gif"], "t.gif: unsupported image format"),
        (["--quota", "many"], "--quota: 'many' is not a number"),
        (["--quota", "0"], "must be above 0"),
        (["--latency", "soon"], "--latency: 'soon'"),
        (["--retry-after", "x"], "--retry-after"),
        (["--rates", "1,x"], "--rates: 'x' is not a number above 0"),
        (["--bursts", "0.5"], "--bursts: 0.5 must be at least 1"),
        (["--batches", "0"], "1 batch"),
        (["--batches", "9" * 30], "at most 10,000,000 batches"),
        (["--jobs", "-1"], "--jobs: -1 is not in the range"),
        (["--quota", "1e-300"], "--quota: 1e-300 must be at least"),
        (["--rates", "1e-300"], "--rates: 1e-300 must be at least"),
        (["--write", "/dev/zero", "--replace"], "/dev/zero is not a regular file"),
        (["--out", "none/t.csv"], "none/t.csv"),
        (["--out", "same.toml", "--write", "same.toml"], "same.toml: --write and --out name the same file"),
        (["--service", "none.toml"], "none.toml: service file not found"),
        (["--replace"], "--replace requires --write"),
        (["--max-rate", "5"], "--max-rate requires --live"),
        (["--duration", "5s"], "--duration requires --live"),
        (["--live", "--quota", "3"], "--quota cannot be used with --live"),
        (["--live", "--yes", "--duration", "never", "--region", "eu-west-1"], "--duration: 'never'"),
        (["--live", "--yes", "--max-rate", "x", "--region", "eu-west-1"], "--max-rate: 'x'"),
        (["--live", "--yes", "--region", "eu-west-1", "--plot", "t.html"], "t.html: a measurement is a picture"),
        (["--live", "--yes", "--region", "eu-west-1", "--write", "none/t.toml"], "none/t.toml: cannot be written"),
        (["--live", "--region", "eu-west-1"], "no terminal to confirm on"),
        (["--replay", "none.journal"], "none.journal: no such file"),
        (["--replay", "x", "--live"], "only one of --live and --replay"),
        (["--replay", "x", "--jitter", "1s"], "--jitter cannot be used with --replay"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_tune_invalid_arguments_are_usage_errors(cli: CommandRunner, arguments: list[str], message: str) -> None:
    """The exit code is 2 and standard error has one line; no trial runs and no request is sent."""
    ended = cli("tune", *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert ended.out == ""


@pytest.mark.parametrize("source_option", ["--replay", "--service"])
@pytest.mark.parametrize("option", ["--out", "--write", "--plot"])
def test_tune_output_never_overwrites_its_source(
    cli: CommandRunner, tmp_path: Path, source_option: str, option: str
) -> None:
    """A journal and a service file are not overwritten, even through a symbolic link."""
    source = tmp_path / "source"
    source.write_text("quota = 20\n")
    (tmp_path / "link.svg").symlink_to(source)
    replace = ("--replace",) if option == "--write" else ()
    ended = cli("tune", *SMALL, "--no-confirm", source_option, "source", option, "link.svg", *replace)
    assert ended.code == 2
    assert "link.svg" in ended.err
    assert source.read_text() == "quota = 20\n"


def test_tune_live_sends_only_list_core_devices(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """Every request is ListCoreDevices, within the duration; JSON and CSV have the results."""
    simulator = serve(rate=20.0, burst=4.0, latency_ms=10.0)
    limits = ("--duration", "2s", "--max-rate", 60)
    outputs = ("--out", "requests.csv", "--plot", "live.svg", "--write", "asyncgg.toml")
    ended = cli("tune", "--live", "--yes", "--quiet", "--json", *limits, *outputs)
    assert ended.code == 0, ended.err
    report: dict[str, Any] = ended.json
    counters = simulator.service.counters.summary()
    assert list(counters["requests"]) == ["ListCoreDevices"]
    assert report["requests"]["sent"] == counters["total"]
    assert report["quota"]["code"] == "L-7A577824"
    assert "custom endpoint" in report["quota"]["applied_unknown_reason"]
    assert report["rate"] == pytest.approx(20, rel=0.3)
    assert report["seconds"] < 5
    with (tmp_path / "requests.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert 0 <= report["requests"]["sent"] - len(rows) < 5  # some can be in flight at the end
    assert {row["outcome"] for row in rows} == {"accepted", "throttled"}
    settings = tomllib.loads((tmp_path / "asyncgg.toml").read_text())
    assert 0 <= report["rate"] - settings["rate"] <= 0.1
    assert "requests/s available" in (tmp_path / "live.svg").read_text()


def test_tune_live_access_denied_names_the_permission(cli: CommandRunner, serve: StartSimulator) -> None:
    """Without the permission the exit code is 5 and the error names it."""
    serve(fault=("deny",))
    ended = cli("tune", "--live", "--yes", "--quiet", "--duration", "4s")
    assert ended.code == 5
    assert "greengrass:ListCoreDevices" in ended.err


def test_tune_live_logs_its_plan_as_json(cli: CommandRunner, serve: StartSimulator) -> None:
    """With --log-format json the limits of the measurement are a JSON line."""
    serve(rate=1000.0, burst=100.0)
    ended = cli("tune", "--live", "--yes", "--duration", "1s", "--max-rate", 3, "--log-format", "json", "--json")
    assert ended.code == 0
    plan = json.loads(ended.err.splitlines()[0])
    assert (plan["event"], plan["max_rate"], plan["seconds"]) == ("plan", 3, 1)
    assert ended.json["rate"] is None


def test_tune_plot_html_is_a_page_with_every_trial(cli: CommandRunner, tmp_path: Path) -> None:
    """The page has the recommendation, its settings file, a row for each trial, and loads nothing."""
    document = cli("tune", *SMALL, "--no-confirm", "--quiet", "--json", "--plot", "tune.html").json
    page = Path("tune.html").read_text(encoding="utf-8")
    rows = page[page.index('id="trials-table"') :]
    assert rows.count("<tr>") == len(document["trials"]) + 1
    assert rows.count("<td>recommended</td>") == 1
    assert f"rate = {document['settings']['rate']}" in page
    assert "data:" not in page
    assert page.count("<script") == 1


def test_tune_plot_html_without_matplotlib_says_so(cli: CommandRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is written with its tables, and names the extra for the charts."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli("tune", *SMALL, "--no-confirm", "--quiet", "--plot", "tune.html").code == 0
    page = Path("tune.html").read_text(encoding="utf-8")
    assert "asyncgg[plots]" in page
    assert "<svg" not in page
