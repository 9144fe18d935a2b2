"""Long measurements, as commands: ``python -m benchmarks.NAME --help``."""
