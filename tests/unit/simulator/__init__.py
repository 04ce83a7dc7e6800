"""Tests of asyncgg.simulator."""
