"""How many people and class neurons a study needs."""
