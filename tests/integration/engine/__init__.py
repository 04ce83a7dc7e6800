"""Integration tests of asyncgg.engine."""
