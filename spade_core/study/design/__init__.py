"""What a study asks, of whom, in which order."""
