"""Who may come in: links, devices, and the experimenter's door."""
