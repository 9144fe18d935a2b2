"""The pictures, regions and drawings that people are shown."""
