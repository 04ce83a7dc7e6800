"""Integration tests of asyncgg.runs."""
