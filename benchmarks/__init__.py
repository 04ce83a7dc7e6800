"""Benchmarks: `python -m benchmarks [NAME ...]`, or `python -m benchmarks.NAME` for a single one.

Comparisons: quota, adaptive, throughput, overhead, scale. Single benchmarks: cleanup, decommission,
faults, inventory, journal, memory, policy_grid, transports, tuning.
"""
