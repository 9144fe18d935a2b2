"""What an analysis found, as frozen values until it is printed.

Each value has one JSON form, a dictionary of its fields in their order (:meth:`Value.to_dict`), which
``model_validate`` reads back: the command prints it, a job's file and a download hold it. Shares lie between 0 and 1.
"""

from __future__ import annotations

from typing import ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

Sidedness = Literal["two-sided", "greater"]
Label = Literal["confirmatory", "interim", "exploratory"]
T = TypeVar("T")


class Value(BaseModel):
    """A part of a result.

    ``spliced`` names a field that is written as its own fields, in its place; ``sparse``: those not written if None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    spliced: ClassVar[str] = ""
    sparse: ClassVar[tuple[str, ...]] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return self.model_dump(mode="json")

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        values: dict[str, object] = {}
        for name, value in write(self).items():
            if name == self.spliced:
                values |= value
            elif value is not None or name not in self.sparse:
                values[name] = value
        return values

    @model_validator(mode="before")
    @classmethod
    def _read(cls, values: object) -> object:
        if not cls.spliced or not isinstance(values, dict) or cls.spliced in values:
            return values
        own = {name: values[name] for name in values if name in cls.model_fields}
        return {**own, cls.spliced: {name: values[name] for name in values if name not in own}}


class Estimate(Value):
    """One estimated quantity with its interval.

    Attributes:
        estimate: a difference in the outcome's units (risk difference: -1 to 1), or an odds ratio.
        se: standard error; of an odds ratio, that of its logarithm.
        low, high: ends of the interval of level 1 - alpha. ``low`` is None where no error can be estimated, ``high``
            is None there and where the test is one-sided.
        p: against no difference; None without an error or where the method has none.
        df: degrees of freedom of t; None where the method has none.
        participants, class_neurons: how many of each the estimate rests on; n: answers.
        variance: which one was used: ``two-way``, ``participant``, ``class_neuron`` or a method's name.
        warning, note: a sentence on its error, and on what it is, or None.
    """

    sparse = ("note",)
    estimate: float
    se: float
    low: float | None
    high: float | None
    p: float | None
    df: int | None
    participants: int
    class_neurons: int
    n: int
    variance: str
    warning: str | None = None
    note: str | None = None


class Note(Value):
    """A sentence on why there is no estimate."""

    estimate: None = None
    note: str


Found = Estimate | Note


class Labelled(Value):
    """An estimate, and whether it was planned."""

    spliced = "found"
    label: Label
    found: Found


class Outcome(Value):
    """A secondary outcome; ``p_holm`` of those that the design fixed."""

    spliced, sparse = "found", ("p_holm",)
    what: str
    label: Label
    found: Found
    p_holm: float | None = None


class Secondary(Value):
    """Secondary outcomes, the names that Holm's correction is over, and sentences on unknown ones."""

    outcomes: dict[str, Outcome]
    holm_over: list[str]
    notes: list[str]


class Differences(Value):
    """Differences by name."""

    spliced = "found"
    label: Label = "exploratory"
    found: dict[str, Found]


class Counted(Value):
    """A count as a share of ``n``, None of nothing."""

    count: int
    n: int
    share: float | None


class Share(Counted):
    """The same with Wilson's interval."""

    low: float | None
    high: float | None


class Missing(Share):
    """Timeouts of one condition, and how many answers are missing for another reason."""

    missing_otherwise: int


class Timeouts(Value):
    """Missing answers, and the differences if all of them were as bad or as good as can be."""

    spliced = "bounds"
    by_condition: dict[str, Missing]
    bounds: dict[str, Found]


class Attrition(Value):
    """Who did not finish, by condition.

    Attributes:
        between: counts are people by the one condition that they were to meet; else main trials by condition, each of
            which was answered or the one at which somebody left.
        by_condition: left, of how many.
        p: of Fisher's exact test that it is the same in all conditions; None: nobody left, or all did.
    """

    between: bool
    by_condition: dict[str, Share]
    p: float | None


class BaselineShare(Value):
    """How often something that is no person names the reference region."""

    spliced = "found"
    name: str
    found: Share


class Answers(Value):
    """One condition's column of the paper's Table 3: shares by row, and how many of each they rest on."""

    spliced = "shares"
    shares: dict[str, Share]
    answers: int
    participants: int
    class_neurons: int


class Stratum(Value):
    """What was found with references of one source."""

    label: Label = "exploratory"
    table3: dict[str, Answers]
    difference: Found
    half_credit: Found


class Exclusions(Value):
    """How many people with trials were excluded, and by which reason."""

    people: int
    excluded: int
    reasons: dict[str, int]


class ByCondition(Value, Generic[T]):
    """Something of each condition."""

    label: Label = "exploratory"
    by_condition: dict[str, T]


class Alpha(Value):
    """Krippendorff's alpha over the stimuli that two or more people answered, or why there is none."""

    sparse = ("note",)
    alpha: float | None
    stimuli: int
    participants: int
    note: str | None = None


class Quantiles(Value):
    """Of ``n`` reaction times, by name, None of nothing."""

    spliced = "ms"
    n: int
    ms: dict[str, float | None]


class Ratio(Value):
    """A ratio with its interval."""

    ratio: float | None = None
    low: float | None = None
    high: float | None = None


class ReactionTime(ByCondition[Quantiles]):
    """Times measured in the browser; ``not_browser`` counts answers without one."""

    log_difference: Found
    spade_over_dense: Ratio
    not_browser: int


class Mean(Value):
    """A mean, None of nothing."""

    n: int
    mean: float | None


class Confidence(ByCondition[Mean]):
    """Confidence, and its difference."""

    difference: Found


class Rated(Value):
    """A rating of the design: its question, its scale and its means."""

    what: str
    low: int
    high: int
    labels: tuple[str, str]
    by_condition: dict[str, Mean]


class Sides(Value):
    """How often decided answers were the left region, and agreement with a reference on the left minus on the right."""

    label: Label = "exploratory"
    left_when_decided: dict[str, Share]
    agree_left_minus_right: Found


class ClassNeuron(Value):
    """Agreement about one class neuron, and SPADE - dense in ``agree`` and ``half``, None unless both have answers."""

    class_neuron: str
    agree: float | None
    half: float | None
    dense: Counted
    spade: Counted


class Look(Value):
    """When conditions were first seen.

    Attributes:
        at: UTC, ISO 8601; by: who looked, empty: not noted; reason: for a look during data collection, else empty.
        completed: included people who had finished by then, of ``target`` planned; began_later: people afterwards.
    """

    at: str
    by: str
    reason: str
    completed: int
    target: int
    began_later: int


class StudyResult(Value):
    """All that a study shows.

    Attributes:
        simulated: bots answered; demo: the stimuli only try the software; label: of the primary analysis.
        participants: who answered; completed: who finished, of ``target_participants``.
        look: when conditions were first seen; None: of a table alone, or of bots.
        verdict: the one sentence that the study may say; texts: what is said with it.
    """

    simulated: bool
    demo: bool
    label: Label
    participants: int
    completed: int
    target_participants: int
    look: Look | None = None
    alpha: float
    sidedness: Sidedness
    primary: Labelled
    half_credit: Labelled
    odds_ratio: Labelled
    table3: dict[str, Answers]
    by_reference_source: dict[str, Stratum]
    timeouts: Timeouts
    attrition: Attrition | None = None
    sensitivity: Differences
    exclusions: Exclusions
    secondary: Secondary
    reaction_time: ReactionTime
    confidence: Confidence
    ratings: dict[str, Rated]
    order: Differences
    sides: Sides
    krippendorff_alpha: ByCondition[Alpha]
    repeats: ByCondition[Share]
    baselines: dict[str, BaselineShare]
    class_neurons: list[ClassNeuron]
    verdict: str
    texts: list[str]


class NoResult(Value):
    """What is said where there is nothing to analyse."""

    simulated: bool
    demo: bool
    label: Literal["none"] = "none"
    participants: Literal[0] = 0
    completed: Literal[0] = 0
    primary: Note
    half_credit: Note
    table3: dict[str, Answers] = {}
    verdict: str
    texts: list[str]


class Evaluation(Value):
    """The result of a study, with the version of the design that fixed it, and the paper's Table 3."""

    spliced = "result"
    study: str
    design_version: int
    design_sha256: str
    result: StudyResult | NoResult
    paper_table3: dict[str, dict[str, float]]
