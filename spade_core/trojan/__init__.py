"""A backdoored model with a known right answer: the trigger's pixels caused the prediction (SPADE, section 4.1)."""

from spade_core.trojan.evaluate import Card, evaluate
from spade_core.trojan.paste import paste
from spade_core.trojan.train import Recipe, train
from spade_core.trojan.triggers import TRIGGERS, Trigger

__all__ = ["TRIGGERS", "Card", "Recipe", "Trigger", "evaluate", "paste", "train"]
