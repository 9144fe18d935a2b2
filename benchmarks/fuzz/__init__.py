"""What strangers write at the doors that parse: inputs, the doors, a run through them, and a server that is running."""
