"""Parts of the participants' page."""
