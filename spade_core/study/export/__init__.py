"""Answers as tables for other programs, with their codebook."""
