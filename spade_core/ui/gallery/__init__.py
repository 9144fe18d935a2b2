"""Parts of Home and of the tour: the cases of the gallery, shown at once."""
