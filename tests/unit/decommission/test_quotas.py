"""The time of a stage and the quotas to raise, and the options that a journal keeps."""

from __future__ import annotations

import pytest

from asyncgg.decommission.options import DecommissionOptions
from asyncgg.decommission.quotas import (
    DEFAULT_QUOTAS,
    advise,
    parse_quotas,
    plan_requests,
    quarantine_requests,
    stage_cost,
)
from asyncgg.errors import UsageError

RATES = {**DEFAULT_QUOTAS, "GetCoreDevice": 30.0}


def test_stage_cost_is_that_of_the_certificate_calls() -> None:
    """25,000 devices with a certificate each take 42 minutes at the default 10 calls per second."""
    cost = stage_cost(quarantine_requests(25_000, 25_000), RATES)
    assert set(cost.slowest) == {"ListPrincipalThings", "UpdateCertificate", "DescribeCertificate"}
    assert cost.seconds / 60 == pytest.approx(41.7, abs=0.1)
    assert stage_cost({}, RATES).slowest == ()


def test_advise_raises_the_slowest_until_another_operation_decides() -> None:
    """The quotas of the slowest operations are raised together, as far as it helps."""
    cost = stage_cost(plan_requests(1_000, 1_000), RATES)
    advice = advise(cost, RATES)
    assert advice is not None
    raised = ("ListPrincipalThings", "DescribeCertificate", "GetThingConnectivityData")
    assert advice.quotas == pytest.approx(dict.fromkeys(raised, 15.0))
    assert advice.seconds_before == 100.0
    assert advice.seconds_after == 66.7  # ListAttachedPolicies at 15/s
    improved = {**RATES, **advice.quotas}
    assert stage_cost(plan_requests(1_000, 1_000), improved).seconds == advice.seconds_after
    assert advise(stage_cost({}, RATES), RATES) is None


def test_advise_raises_at_most_fivefold() -> None:
    """A hundredfold quota is not realistic."""
    advice = advise(stage_cost({"UpdateCertificate": 1_000, "DescribeThing": 1}, RATES), RATES)
    assert advice is not None
    assert advice.quotas == {"UpdateCertificate": 50.0}


def test_parse_quotas_prefers_the_entries_to_the_applied_ones() -> None:
    """The option comes before Service Quotas, which comes before the defaults."""
    quotas = parse_quotas(["GetPolicy=7"], {"GetPolicy": 20.0, "DeleteThing": 50.0})
    assert (quotas["GetPolicy"], quotas["DeleteThing"], quotas["UpdateCertificate"]) == (7.0, 50.0, 10.0)
    for entry in ("GetPolicy", "GetPolicy=0", "GetPolicy=nan", "Nothing=5", "=5"):
        with pytest.raises(UsageError):
            parse_quotas([entry])


def test_options_survive_the_journal() -> None:
    """A later command has the options of the first one, unless it sets them itself; a 0 is a value."""
    options = DecommissionOptions().override({"connected_within": 0.0, "allow_shared": ("c",), "canary": None})
    restored = DecommissionOptions.from_json(options.to_json())
    assert restored == options == DecommissionOptions(connected_within=0.0, allow_shared=("c",))
    changed = restored.override({"connected_within": None, "allow_shared": (), "delete_shadows": True, "yes": True})
    assert changed == DecommissionOptions(connected_within=0.0, allow_shared=("c",), delete_shadows=True)
