"""Rule: aids for testing code that is built on asyncgg live here; nothing else of the package may import them."""

from asyncgg.testing.clock import DeadlockError, VirtualLoop, run_virtual

__all__ = ["DeadlockError", "VirtualLoop", "run_virtual"]
