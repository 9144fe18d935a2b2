"""Pictures as values, figures of them, and the splits of a folder."""
