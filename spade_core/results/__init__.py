"""Finished analyses and drawings as files with a manifest, and their replay."""
