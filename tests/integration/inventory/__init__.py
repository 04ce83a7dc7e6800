"""Integration tests of asyncgg.inventory."""
