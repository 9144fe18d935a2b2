"""The words of a study, each declared once."""

from __future__ import annotations

PHASES = ("device", "consent", "instructions", "comprehension", "practice", "main", "debrief")
TERMINAL = ("complete", "declined", "screened_out", "failed", "time_over")
ADMITS_PEOPLE, ADMITS_TRIALS = ("open",), ("draft", "open", "paused")  # states that let people, or bots and previews in


INSTRUCTIONS = "instructions"


LIMITED = ("instructions", "comprehension", "practice", "main")  # with something left that a time limit cuts off


IN_TRIALS = ("practice", "main")


CHOICES = ("region_1", "region_2", "cannot_tell")
