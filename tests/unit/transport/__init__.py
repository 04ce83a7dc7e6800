"""Tests of asyncgg.transport."""
