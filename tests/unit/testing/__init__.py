"""Tests of asyncgg.testing."""
