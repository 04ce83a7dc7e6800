"""Integration tests of asyncgg.cleanup."""
