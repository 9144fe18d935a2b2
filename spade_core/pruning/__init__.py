"""SPADE: from a dense model and one picture to its trace."""
