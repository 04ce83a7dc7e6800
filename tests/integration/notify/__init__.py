"""Integration tests of asyncgg.notify."""
