"""The human study: stimuli, design, participants' way, answers, analysis (SPADE, section 4.3, Table 3)."""
