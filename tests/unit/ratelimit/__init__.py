"""Tests of asyncgg.ratelimit."""
