"""Heavy work outside the page process: a queue, workers, progress, cancel, and kept results."""
