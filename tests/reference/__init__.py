"""Slow, obvious re-implementations that follow the definitions in the papers."""
