"""Rule: the engine: `run` moves batches, `lane` is one quota, `guards` say when to stop."""

from asyncgg.engine.guards import Guards, Stop
from asyncgg.engine.lane import Lane
from asyncgg.engine.run import Engine, EngineOptions, Result

__all__ = ["Engine", "EngineOptions", "Guards", "Lane", "Result", "Stop"]
