"""The same function in a form that every interpretability method understands."""
