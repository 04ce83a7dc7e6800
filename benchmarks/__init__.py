"""Measurements: `python -m benchmarks [quota throughput overhead scale]`. Results go to benchmarks/results/.

Apart from these: `python -m benchmarks.journal`, `.memory`, `.faults` and `.transports`, each on its own.
"""
