"""What an experimenter should know before a study begins, although nothing forbids it."""

from __future__ import annotations

from spade_core.study.design.design import Design
from spade_core.study.design.schedule import cells
from spade_core.study.stimuli.stimulus_set import StimulusSet


def cautions(design: Design | None, stimuli: StimulusSet | None) -> list[str]:
    """Return one sentence for each thing to think about; the set must serve the design, where both are given."""
    found = [stimuli.warning] if stimuli is not None and stimuli.warning else []
    if design is not None and stimuli is not None and not (design.demo or stimuli.demo):
        found += _uneven(design, stimuli)
    return found


def _uneven(design: Design, stimuli: StimulusSet) -> list[str]:
    """Cells fill equally only where each has the same number of people."""
    count = len(cells(design, stimuli))
    below = design.quota - design.quota % count
    if below == design.quota:
        return []
    fitting = f"{below} or {below + count}" if below else str(count)
    return [
        f"The quota of {design.quota} is no multiple of the design's {count} cells, so that not all class neurons are "
        f"met equally often in all conditions: {fitting} would be."
    ]
