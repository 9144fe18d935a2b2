"""The words of a study, each declared once, with what the rest of the program needs to know of them.

Whoever adds a phase, a condition, a baseline or a step of the confidence scale begins here; what a word does is in the
code that asks for it. Databases, exports and links in the field hold these words: they are never renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

# --- a study ---


@dataclass(frozen=True)
class State:
    """What a study does in one of its states.

    Attributes:
        next: states that it may go to; people: whether people may begin; trials: whether bots and previews may.
    """

    next: tuple[str, ...] = ()
    people: bool = False
    trials: bool = False


STATES: Mapping[str, State] = {
    "draft": State(("open", "closed"), trials=True),
    "open": State(("paused", "closed"), people=True, trials=True),
    "paused": State(("open", "closed"), trials=True),
    "closed": State(),
}
WaysIn = Literal["link", "typed", "open", "signed"]  # the design's “entry”
WaysBack = Literal["token", "id"]  # the design's “returning”

# --- a participation ---

ACTIVE, COMPLETE, TIME_OVER, STOPPED = "active", "complete", "time_over", "stopped"
TERMINAL = (COMPLETE, "declined", "screened_out", "failed", TIME_OVER, STOPPED)  # each has a code among the design's
FINISHED = (COMPLETE, "failed")  # answered all trials
LEFT = "left"  # what an active participation is called that was idle for too long; never stored
SIMULATED = "SIMULATED"  # marks all that bots and previews have left behind


@dataclass(frozen=True)
class Phase:
    """One stretch of a participation.

    Attributes:
        limited: something is left in it that the study's time limit cuts off; trials: it consists of trials.
    """

    limited: bool = False
    trials: bool = False


PHASES: Mapping[str, Phase] = {
    "device": Phase(),
    "consent": Phase(),
    "instructions": Phase(limited=True),
    "comprehension": Phase(limited=True),
    "practice": Phase(limited=True, trials=True),
    "main": Phase(limited=True, trials=True),
    "debrief": Phase(),
}
"""In their order."""
LIMITED = tuple(name for name, phase in PHASES.items() if phase.limited)
INSTRUCTIONS, COMPREHENSION, PRACTICE = "instructions", "comprehension", "practice"

# --- a trial and its answer ---

TRIAL_TYPES = ("practice", "main", "catch", "repeat", "attention")
REGIONS = ("region_1", "region_2")
CANNOT_TELL = "cannot_tell"
ChoiceName = Literal["region_1", "region_2", "cannot_tell"]
CHOICES: tuple[ChoiceName, ChoiceName, ChoiceName] = get_args(ChoiceName)
CONFIDENCE = ("Guessing", "Fairly sure", "Sure")  # steps of the scale, from 1
RtSource = Literal["browser", "server"]
BROWSER: RtSource = "browser"  # whose response times are analysed
RELOADED = "reloaded"  # stored in place of “browser”: the trial was seen before this onset, or the time cannot be


def confidence_scale(to: str = " to ") -> str:
    """Return both ends of the confidence scale, such as ``1 to 3``."""
    return f"1{to}{len(CONFIDENCE)}"


# --- what is shown beside the photograph ---

ConditionName = Literal["dense", "spade", "none", "reference"]


@dataclass(frozen=True)
class Condition:
    """One kind of second image.

    Attributes:
        title: in tables; seen: in sentences; file: of a main item, None: nothing is shown.
        always: whether every set has it; undecided: how often the bot “undecided-shifter” cannot tell.
        colour: in figures.
    """

    title: str
    seen: str
    file: str | None
    undecided: float
    colour: str
    always: bool = True


CONDITIONS: Mapping[str, Condition] = {
    "dense": Condition("dense", "the dense visualization", "dense", 0.35, "#64748b"),
    "spade": Condition("SPADE", "the SPADE visualization", "spade", 0.10, "#0f766e"),
    "none": Condition("no visualization", "nothing", None, 0.35, "#d97706"),
    "reference": Condition("reference crops", "the reference crops", "references", 0.20, "#7c3aed", always=False),
}
COMPARED: tuple[ConditionName, ConditionName] = ("dense", "spade")  # by the primary analysis


@dataclass(frozen=True)
class BaselineKind:
    """Something that answers without being a person.

    Attributes:
        column: in exports; who: in methods texts; title: in tables; meaning: in codebooks.
        always: whether every set has it.
    """

    column: str
    who: str
    title: str
    meaning: str
    always: bool = True


def _rater(name: str, shown: Condition) -> BaselineKind:
    return BaselineKind(
        f"rater_side_{name}",
        f"the model rater on {shown.title}",
        f"model rater on {shown.seen}",
        f"what the model rater answers from {shown.seen}",
        shown.always,
    )


def _rule(name: str, who: str, title: str) -> BaselineKind:
    return BaselineKind(f"{name}_side", who, title, f"what “{who}” would answer")


BASELINES: Mapping[str, BaselineKind] = {
    "central": _rule("central", "the more central region", "most central patch"),
    "contrast": _rule("contrast", "the region of more contrast", "most contrasted patch"),
    **{f"rater_{name}": _rater(name, one) for name, one in CONDITIONS.items() if one.file is not None},
}
"""By their names in a stimulus set."""
