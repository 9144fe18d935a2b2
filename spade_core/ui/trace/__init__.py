"""Parts of the page Inside the trace."""
