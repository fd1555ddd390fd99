"""Times on this machine: ``python -m benchmarks``."""
