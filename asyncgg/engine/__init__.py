"""Rule: the engine: `run` moves batches, `supply` gives and `ledger` books them, `lane` is a quota, `guards` stop."""

from asyncgg.engine.guards import Guards, Stop
from asyncgg.engine.lane import Lane
from asyncgg.engine.options import EngineOptions, Result
from asyncgg.engine.run import Engine

__all__ = ["Engine", "EngineOptions", "Guards", "Lane", "Result", "Stop"]
