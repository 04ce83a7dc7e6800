"""Runs the example of docs/howto/test-your-code.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

EXAMPLE_DOCUMENT = (Path(__file__).parents[3] / "docs" / "howto" / "test-your-code.md").read_text(encoding="utf-8")


def test_docs_example_reaches_quota(capsys: pytest.CaptureFixture[str]) -> None:
    """A shortened run uses most of the quota and is rarely throttled."""
    (code,) = re.findall(r"```python\n(.*?)```", EXAMPLE_DOCUMENT, re.DOTALL)
    for long, short in (("3600", "120"), ("1200", "40"), ("1800", "60")):
        code = code.replace(long, short)
    exec(compile(code, "docs/howto/test-your-code.md", "exec"), {"__name__": "example"})
    rate, throttled = (float(number) for number in re.findall(r"[\d.]+", capsys.readouterr().out))
    assert 22 < rate < 30.5
    assert throttled < 5
