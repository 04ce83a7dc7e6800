"""Tests of asyncgg.report."""
