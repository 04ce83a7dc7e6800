"""The engine of a run: claims batches from the journal, sends them and records their outcomes."""

from asyncgg.engine.engine import Engine, EngineOptions, RunResult
from asyncgg.engine.guards import AbortRules, StopReason
from asyncgg.engine.lane import Lane
from asyncgg.engine.session import WorkSession

__all__ = ["AbortRules", "Engine", "EngineOptions", "Lane", "RunResult", "StopReason", "WorkSession"]
