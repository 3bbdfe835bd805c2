"""Benchmarks: each a command that prints JSON (`python -m benchmarks.NAME`); compare ratios and medians."""
