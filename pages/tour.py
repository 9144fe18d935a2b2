"""The presenter's tour: six steps, by the arrow keys."""

from __future__ import annotations

from spade_core.ui.common.frame import frame
from spade_core.ui.gallery.tour import show_tour

frame("Tour", show_tour, menu=False)
