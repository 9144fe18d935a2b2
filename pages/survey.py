"""A participant's whole way through a study; nothing else of the app is shown here."""

from spade_core.ui.participant.presence import participant_frame
from spade_core.ui.participant.screens import render_survey

participant_frame(render_survey)
