"""Tests of asyncgg.cleanup."""
