"""The parts of `scripts/benchmark.py`, one for each thing that takes time."""
