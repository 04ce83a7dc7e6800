"""Tests of asyncgg.notify."""
