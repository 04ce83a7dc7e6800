"""Integration tests of `asyncgg.state`."""
