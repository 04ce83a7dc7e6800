"""Tests of asyncgg.cleanup.policy."""
