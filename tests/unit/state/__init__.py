"""Unit tests of `asyncgg.state`."""
