"""Tests of asyncgg.decommission."""
