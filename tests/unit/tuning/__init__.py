"""Tests of asyncgg.tuning."""
