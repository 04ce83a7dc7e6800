"""Integration tests of asyncgg.transport."""
