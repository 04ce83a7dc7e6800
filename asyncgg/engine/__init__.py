"""Rule: the engine: `run` moves batches, `supply` gives and `ledger` books them, `lane` is a quota, `guards` stop."""

from asyncgg.engine.engine import Engine
from asyncgg.engine.guards import AbortRules, StopReason
from asyncgg.engine.lane import Lane
from asyncgg.engine.options import EngineOptions, RunResult

__all__ = ["AbortRules", "Engine", "EngineOptions", "Lane", "RunResult", "StopReason"]
