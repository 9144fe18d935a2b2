"""What a stranger gets of a served app: by requests, by pages, and by a session of its own."""
