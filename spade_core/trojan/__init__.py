"""A backdoored model with a known right answer: the trigger's pixels caused the prediction (SPADE, section 4.1)."""
