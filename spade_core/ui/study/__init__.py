"""Parts of the experimenter's page."""
