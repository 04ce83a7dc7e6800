"""Tests of the routing of manifest rows."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from asyncgg.errors import ManifestError
from asyncgg.fleet.routing import Router, route_manifest
from asyncgg.fleet.targets import FleetTarget

TARGETS = [
    FleetTarget("eu", "111111111111", "eu-west-1", {}),
    FleetTarget("us", "111111111111", "us-east-1", {}),
    FleetTarget("other", "222222222222", "eu-west-1", {}),
]


def route(path: Path, targets: list[FleetTarget] = TARGETS) -> tuple[dict[str, list[tuple[str, str]]], list[str]]:
    """The pairs by target, and the bad rows without the folder."""
    pairs: dict[str, list[tuple[str, str]]] = {}
    bad = []
    for chunk in route_manifest(str(path), Router(targets)):
        for name, rows in chunk.pairs.items():
            pairs.setdefault(name, []).extend(rows)
        bad += [f"{row.line}: {row.reason}" for row in chunk.bad]
    return pairs, bad


def test_csv_rows_go_to_the_one_target_that_takes_them(tmp_path: Path) -> None:
    """By account and Region, by target, or by what is unique; others are bad rows with their line."""
    path = tmp_path / "m.csv"
    path.write_text(
        "\ufeffThing;Account;Region;Target;Core;note\r\n"
        "a;111111111111;us-east-1;;c1;x\r\n"
        "b;;;other;c2;\r\n"
        "d;222222222222;;;c3;\r\n"
        "e;111111111111;;;c4;\r\n"
        "f;333333333333;eu-west-1;;c5;\r\n"
        "g;111111111111;eu-west-1;other;c5;\r\n"
        "bad name;;;eu;c6;\r\n"
        "h;;;eu\r\n"
        "\r\n"
        "Thing;Account;Region;Target;Core;note\r\n"
        "i;;;eu;c7;\r\n",
        encoding="utf-8",
    )
    pairs, bad = route(path)
    assert pairs == {"us": [("c1", "a")], "other": [("c2", "b"), ("c3", "d")], "eu": [("c7", "i")]}
    assert bad == [
        "5: 2 targets for account 111111111111 (eu, us)",
        "6: no target for account 333333333333, region eu-west-1",
        "7: no target for account 111111111111, region eu-west-1, target other",
        "8: thing contains characters outside a-z A-Z 0-9 : _ -",
        "9: has 4 columns, the header has 6",
    ]


def test_jsonl_rows_are_routed_also_compressed(tmp_path: Path) -> None:
    """With the aliases of the columns; what is no object is a bad row."""
    path = tmp_path / "m.jsonl.gz"
    lines = '{"coreDeviceThingName":"c","thingName":"t","target":"eu"}\n[1]\n{"core":"c","core":"d","thing":"t"}\n'
    path.write_bytes(gzip.compress(lines.encode()))
    assert route(path) == ({"eu": [("c", "t")]}, ["2: is not a JSON object", "3: has a key twice"])


def test_parquet_rows_are_routed(tmp_path: Path) -> None:
    """The columns are found by name."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"region": ["us-east-1", None], "core": ["c", "c"], "thing": ["t", "u"]}), path)
    pairs, bad = route(path)
    assert pairs == {"us": [("c", "t")]}
    assert bad[0].startswith("2: 3 targets for a row without account, region and target")


def test_manifest_without_columns_goes_to_a_single_target(tmp_path: Path) -> None:
    """One target takes every row; a header without core is an error."""
    path = tmp_path / "m.csv"
    path.write_text("core,thing\nc,t\n", encoding="utf-8")
    assert route(path, TARGETS[:1]) == ({"eu": [("c", "t")]}, [])
    path.write_text("host,thing\nc,t\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"m\.csv:1: the header"):
        route(path)
