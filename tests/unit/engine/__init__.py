"""Tests of asyncgg.engine."""
