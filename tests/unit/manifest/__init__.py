"""Tests of asyncgg.manifest."""
