"""A participation from entry to debriefing."""
