"""Rule: the engine: `run` moves batches, `supply` gives and `ledger` books them, `lane` is a quota, `guards` stop."""

from asyncgg.engine.guards import AbortRules, StopReason
from asyncgg.engine.lane import Lane
from asyncgg.engine.options import EngineOptions, RunResult
from asyncgg.engine.run import Engine

__all__ = ["Engine", "EngineOptions", "AbortRules", "Lane", "RunResult", "StopReason"]
