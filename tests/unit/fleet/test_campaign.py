"""Tests of shards, waves and the exit code of a campaign."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from asyncgg.errors import CredentialsError, SettingsError, UsageError
from asyncgg.fleet.campaign import Campaign, CampaignLane, Shard, plan_waves, waves_left
from asyncgg.fleet.results import LaneResult, campaign_exit_code, failed_result

NAMES = [f"t{number}" for number in range(20)]


def test_exit_code_is_the_first_of_the_order() -> None:
    """0 only if all are 0; else 1, 5, 4, 2, 130, 10 or 3, in this order."""
    order = [1, 5, 4, 2, 130, 10, 3, 0]
    for one, other in itertools.product(order, repeat=2):
        results = [LaneResult("a", "", one, ""), LaneResult("b", "", other, "")]
        assert campaign_exit_code(results) == min(one, other, key=order.index)


def test_waves_end_with_the_rest() -> None:
    """The canary first, then the sizes, a percentage of all targets, then all others."""
    waves = plan_waves(NAMES, "1,5,25%", "t7")
    assert [len(wave) for wave in waves] == [1, 1, 5, 5, 8]
    assert waves[0] == ["t7"]
    assert sorted(itertools.chain(*waves)) == sorted(NAMES)
    assert plan_waves(NAMES, None, None) == [NAMES]
    assert plan_waves(NAMES[:3], "5", None) == [NAMES[:3]]


def test_waves_left_stop_only_for_targets_that_send(tmp_path: Path) -> None:
    """A target without anything to send is in the last wave, whose failure stops nothing."""
    waves = (("c",), ("a", "b"), ("d", "e"))
    assert waves_left(waves, {"a": 0, "b": 2, "c": 0, "d": 1, "e": 0}) == [["b"], ["d", "a", "c", "e"]]
    assert waves_left(waves, dict.fromkeys("abcde", 1)) == [["c"], ["a", "b"], ["d", "e"]]
    assert waves_left(waves, {"a": 0, "c": 0}) == [["a", "c"]]
    lane = CampaignLane(0, "c", "", "eu-west-1", tmp_path / "c.journal")
    campaign = Campaign(tmp_path, (lane,), waves=waves)
    campaign.save()
    assert Campaign.load(tmp_path) == campaign


def test_truncated_campaign_file_is_refused(tmp_path: Path) -> None:
    """Wherever it ends: a campaign with fewer targets would look complete."""
    lanes = tuple(CampaignLane(n, f"t{n}", "", "eu-west-1", tmp_path / f"t{n}.journal") for n in range(3))
    Campaign(tmp_path, lanes).save()
    text = (tmp_path / "campaign.toml").read_text(encoding="utf-8")
    for end in range(0, len(text.rstrip()), 7):
        (tmp_path / "campaign.toml").write_text(text[:end], encoding="utf-8")
        with pytest.raises(SettingsError):
            Campaign.load(tmp_path)


@pytest.mark.parametrize("waves", ["0", "x", "1,,2", "101%", "-1", "1.5"])
def test_waves_refuses_other_text(waves: str) -> None:
    """A size is a positive number or a percentage."""
    with pytest.raises(UsageError, match="--waves"):
        plan_waves(NAMES, waves, None)


def test_shards_share_all_lanes() -> None:
    """Each lane belongs to exactly one shard."""
    shards = [Shard.parse(f"{index}/3") for index in range(3)]
    assert [sum(shard.owns(lane) for shard in shards) for lane in range(10)] == [1] * 10
    for text in ("3/3", "a/3", "1", "-1/3", "0/0", ""):
        with pytest.raises(UsageError, match="K/N"):
            Shard.parse(text)


def test_campaign_file_keeps_targets_that_were_left_out(tmp_path: Path) -> None:
    """A reason can have any character."""
    left_out = LaneResult.without_journal("t1", tmp_path / "t1.journal")
    failed = failed_result(left_out, CredentialsError('key "b" \\ 🔑 expired'))
    lane = CampaignLane(0, "t2", "1" * 12, "eu-west-1", tmp_path / "t2.journal")
    campaign = Campaign(tmp_path, (lane,), digest="x", unprepared=(failed,))
    campaign.save()
    assert Campaign.load(tmp_path) == campaign


@pytest.mark.parametrize(
    ("valid", "invalid"),
    [
        ("index = 0", 'index = "x"'),
        ("index = 0", "index = 0.5"),
        ('name = "t0"', "name = 3"),
        ('name = "t0"', 'name = "../t0"'),
        ('name = "t0"', 'name = "\\u001b[31m"'),
        ('name = "t0"', 'name = "t1"'),
        ('region = "eu-west-1"', "region = 3"),
        ('"t0.journal"', '"t1.journal"'),
        ('"t0.journal"', '"\\u0000"'),
        ('"t0.journal"', '""'),
        ("rejected = 0", "rejected = inf"),
        ("targets = 2", "targets = 3"),
        ('digest = ""', 'unprepared = [{name = "..", reason = "", exit = 1}]'),
    ],
)
def test_invalid_campaign_file_raises(tmp_path: Path, valid: str, invalid: str) -> None:
    """A file that was edited by hand makes no two lanes share a journal, and names no file elsewhere."""
    lanes = tuple(CampaignLane(n, f"t{n}", "", "eu-west-1", tmp_path / f"t{n}.journal") for n in range(2))
    Campaign(tmp_path, lanes).save()
    path = tmp_path / "campaign.toml"
    assert valid in path.read_text()
    path.write_text(path.read_text().replace(valid, invalid, 1))
    with pytest.raises(SettingsError, match=r"campaign\.toml: invalid campaign file: .*; restore the file"):
        Campaign.load(tmp_path)
