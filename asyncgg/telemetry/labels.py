"""What identifies a run or a scan in logs, metrics and traces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TelemetryLabels:
    """Unknown members are empty."""

    work: str
    """`disassociate`, `associate` or `scan`."""
    account: str = ""
    region: str = ""
    policy: str = ""
    """Name of the policy of a clean-up."""

    def known(self) -> dict[str, str]:
        """Account, Region and policy as far as they are known."""
        members = {"account": self.account, "region": self.region, "policy": self.policy}
        return {name: value for name, value in members.items() if value}
