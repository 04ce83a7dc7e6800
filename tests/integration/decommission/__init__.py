"""Tests of the decommission command."""
