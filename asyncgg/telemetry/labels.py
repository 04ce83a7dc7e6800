"""What logs, metrics and traces need to know about a run or a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class TelemetryLabels:
    """What identifies a run or a scan; unknown members are empty."""

    work: str
    """`disassociate`, `associate` or `scan`."""
    account: str = ""
    region: str = ""
    policy: str = ""
    """Name of the policy of a clean-up."""
    target: str = ""
    """Name of the target in a campaign."""

    def known(self) -> dict[str, str]:
        """Target, account, Region and policy as far as they are known."""
        members = {"target": self.target, "account": self.account, "region": self.region, "policy": self.policy}
        return {name: value for name, value in members.items() if value}


class ProgressSource(Protocol):
    """A run or a scan."""

    def progress(self) -> Any:
        """The current `Progress` or `ScanProgress`."""
