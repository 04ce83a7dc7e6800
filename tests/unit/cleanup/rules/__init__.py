"""Tests of asyncgg.cleanup.rules."""
