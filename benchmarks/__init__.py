"""Measurements: `python -m benchmarks.quota`, `python -m benchmarks.journal`. Figures go to benchmarks/results/."""
