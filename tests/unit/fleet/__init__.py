"""Tests of asyncgg.fleet."""
