"""The commands of a human study."""
