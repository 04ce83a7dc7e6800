"""How the folder of a campaign is recognised."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FILE_NAME: Final = "campaign.toml"


def is_campaign(path: Path) -> bool:
    """Whether `path` is the folder of a campaign."""
    return (path / FILE_NAME).is_file()
