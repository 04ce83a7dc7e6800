"""Integration tests of `asyncgg.fleet`."""
