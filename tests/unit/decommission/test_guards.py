"""The guards: which devices are refused, and that no certificate of another thing changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.decommission.guards import GuardOptions, Refusal, refuse
from asyncgg.decommission.model import CertificateFacts, DeviceFacts, RefusalReason

OPTIONS = GuardOptions(account="111122223333", now=1_000_000.0)
DEVICE = DeviceFacts("a", thing_id="1", certificates=("c",))
CERTIFICATE = CertificateFacts("c", "arn:c", "ACTIVE", "111122223333", "PEM", "", 0.0, ("a",), ())


def reason_for(device: DeviceFacts, certificate: CertificateFacts, options: GuardOptions = OPTIONS) -> str | None:
    """The reason why the only device of a list is refused."""
    refusal = refuse({device.name: device}, {certificate.id: certificate}, options).get(device.name)
    return refusal.reason if refusal else None


def test_refuse_plain_device_is_allowed() -> None:
    """A device with a certificate of its own is allowed."""
    assert reason_for(DEVICE, CERTIFICATE) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unanswered": "AccessDenied"}, RefusalReason.UNANSWERED),
        ({"exists": False}, RefusalReason.NOT_FOUND),
        ({"is_core": True}, RefusalReason.CORE_DEVICE),
        ({"attributes": {"decommission": "never"}}, RefusalReason.PROTECTED),
        ({"connected_at": float("inf")}, RefusalReason.CONNECTED),
        ({"connected_at": 999_000.0}, RefusalReason.CONNECTED),
        ({"connected_at": 1_000_000.0 - 86_401}, None),
        ({"connectivity_known": False}, RefusalReason.CONNECTIVITY),
        ({"other_principals": ("cognito",)}, RefusalReason.PRINCIPAL),
        ({"certificates": ("c", "unknown")}, RefusalReason.UNANSWERED),
    ],
)
def test_refuse_device_facts(changes: dict[str, object], reason: RefusalReason | None) -> None:
    """Each fact of a device that refuses it does so."""
    assert reason_for(replace(DEVICE, **changes), CERTIFICATE) == reason  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize("allowed", [{"allow_unknown_connectivity": True}, {"connected_within": 0.0}])
def test_refuse_unknown_connectivity_can_be_allowed(allowed: dict[str, object]) -> None:
    """Without an index a device is allowed only by an option."""
    options = replace(OPTIONS, **allowed)  # type: ignore[arg-type]  # fields by name
    assert reason_for(replace(DEVICE, connectivity_known=False), CERTIFICATE, options) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "PENDING_TRANSFER"}, RefusalReason.TRANSFER),
        ({"status": "REVOKED"}, RefusalReason.STATUS),
        ({"status": "INACTIVE"}, None),
        ({"owner": "999900001111"}, RefusalReason.FOREIGN),
        ({"is_claim": True}, RefusalReason.CLAIM),
        ({"things": ("a", "b")}, RefusalReason.SHARED),
        ({"things": ()}, RefusalReason.CHANGED),
    ],
)
def test_refuse_certificate_facts(changes: dict[str, object], reason: RefusalReason | None) -> None:
    """Each fact of a certificate that refuses its device does so."""
    assert reason_for(DEVICE, replace(CERTIFICATE, **changes)) == reason  # type: ignore[arg-type]  # fields by name


def test_refuse_named_shared_certificate_is_allowed() -> None:
    """A certificate that the operator named may be shared."""
    options = replace(OPTIONS, allow_shared=frozenset({"c"}))
    assert reason_for(DEVICE, replace(CERTIFICATE, things=("a", "b")), options) is None


def test_refuse_spreads_over_shared_certificates() -> None:
    """A refused device refuses those that share a certificate with it, and so on."""
    devices = {
        "a": DeviceFacts("a", certificates=("1",)),
        "b": DeviceFacts("b", certificates=("1", "2")),
        "c": DeviceFacts("c", certificates=("2",), is_core=True),
    }
    certificates = {
        "1": replace(CERTIFICATE, id="1", things=("a", "b")),
        "2": replace(CERTIFICATE, id="2", things=("b", "c")),
    }
    reasons = {name: refusal.reason for name, refusal in refuse(devices, certificates, OPTIONS).items()}
    assert reasons == {
        "a": RefusalReason.SHARED,
        "b": RefusalReason.SHARED,
        "c": RefusalReason.CORE_DEVICE,
    }


THINGS = st.sampled_from("abcdefgh")


@given(
    attachments=st.sets(st.tuples(THINGS, st.sampled_from("1234"))),
    listed=st.sets(THINGS, min_size=1),
    cores=st.sets(THINGS),
)
def test_refuse_never_changes_a_certificate_of_another_thing(
    attachments: set[tuple[str, str]], listed: set[str], cores: set[str]
) -> None:
    """Whatever the fleet, a certificate of an allowed device belongs to allowed devices only."""
    certificates = {
        id_: replace(CERTIFICATE, id=id_, things=tuple(thing for thing, other in attachments if other == id_))
        for id_ in "1234"
    }
    devices = {
        name: DeviceFacts(
            name, certificates=tuple(id_ for thing, id_ in attachments if thing == name), is_core=name in cores
        )
        for name in listed
    }
    refused: dict[str, Refusal] = refuse(devices, certificates, OPTIONS)
    allowed = listed - refused.keys()
    changed = {id_ for name in allowed for id_ in devices[name].certificates}
    assert {thing for thing, id_ in attachments if id_ in changed} <= allowed
    # and nothing is refused for no reason: a device without certificates and no core is allowed
    assert {name for name in listed - cores if not devices[name].certificates} <= allowed


def test_refuse_foreign_certificate_without_a_known_account() -> None:
    """If STS does not say which account it is, the ARN of the thing does."""
    options = replace(OPTIONS, account="")
    device = replace(DEVICE, arn="arn:aws:iot:eu-west-1:111122223333:thing/a")
    assert reason_for(device, CERTIFICATE, options) is None
    assert reason_for(device, replace(CERTIFICATE, owner="999900001111"), options) is RefusalReason.FOREIGN
