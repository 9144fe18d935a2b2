"""The saliency page's own parts: the grid of maps, and what is told beside a method."""
