"""Networks as people bring them: registries, own weights, labels, preprocessing, and the calls of their weights."""
