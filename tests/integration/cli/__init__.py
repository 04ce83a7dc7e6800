"""Integration tests of asyncgg.cli."""
