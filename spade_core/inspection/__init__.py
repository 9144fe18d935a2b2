"""What a trace holds: surviving weights, the paths through them, and how layers feed each other."""
