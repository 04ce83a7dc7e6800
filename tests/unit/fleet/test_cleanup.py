"""Tests of the limit on the things of all targets of a clean-up."""

from __future__ import annotations

import asyncio

import pytest

from asyncgg.errors import GuardError
from asyncgg.fleet.cleanup import TotalLimit
from asyncgg.testing import run_virtual


@pytest.mark.parametrize(("limit", "waits"), [(7, [2.0, 2.0]), (6, [])])
def test_targets_wait_for_all_decisions(limit: int, waits: list[float]) -> None:
    """A target that ended counts as decided; with too many things none may send."""

    async def decide(total: TotalLimit, name: str, things: int, after: float) -> float:
        await asyncio.sleep(after)
        await total.wait(name, things)
        return asyncio.get_running_loop().time()

    async def main() -> list[float | BaseException]:
        start = asyncio.get_running_loop().time()
        total = TotalLimit([["a", "b", "c"]], limit)
        asyncio.get_running_loop().call_later(2.0, total.leave, "c")
        ended = await asyncio.gather(decide(total, "a", 3, 0.0), decide(total, "b", 4, 1.0), return_exceptions=True)
        return [at - start if isinstance(at, float) else at for at in ended]

    results = run_virtual(main())
    if waits:
        assert results == waits
    else:
        assert [type(result) for result in results] == [GuardError, GuardError]


def test_waves_wait_for_themselves_and_add_up() -> None:
    """The second wave counts what the first one sent."""

    async def main() -> None:
        total = TotalLimit([["a"], ["b"]], 5)
        await total.wait("a", 3)
        with pytest.raises(GuardError, match="6 things selected"):
            await total.wait("b", 3)

    run_virtual(main())
