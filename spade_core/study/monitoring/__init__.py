"""How a study fills, and whose data can be trusted."""
