"""What the page of folders shows: which pictures, and the table of what was found."""
