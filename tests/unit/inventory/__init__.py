"""Tests of asyncgg.inventory."""
