"""The runs of a browser, listed for whoever sits before it."""
