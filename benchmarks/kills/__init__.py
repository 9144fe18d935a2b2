"""Interruptions around an answer, many an hour: a participant of plain HTTP, and a server that stops at any step."""
