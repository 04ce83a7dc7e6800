"""Tests of asyncgg.cli."""
