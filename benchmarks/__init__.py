"""Benchmarks: each module prints ours, the baseline and the ratio from one run; `python -m benchmarks.<module>`."""
