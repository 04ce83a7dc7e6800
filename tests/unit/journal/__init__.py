"""Tests of asyncgg.journal."""
