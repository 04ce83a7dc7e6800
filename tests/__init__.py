"""Tests of asyncgg."""
