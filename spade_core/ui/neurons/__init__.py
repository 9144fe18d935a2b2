"""Parts of the page Neurons."""
