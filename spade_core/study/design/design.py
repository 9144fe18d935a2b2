"""A study's design as data: YAML in and out, validated, hashed, frozen once the first real participant starts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from spade_core.config import ASSETS
from spade_core.errors import ConfigError
from spade_core.study.design.faults import Loader, invalid, unreadable
from spade_core.study.design.questions import Part, Questions
from spade_core.study.stimuli.stimulus_set import StimulusSet
from spade_core.study.vocabulary import CONDITIONS, ConditionName, WaysBack, WaysIn

TEMPLATE = ASSETS / "study" / "template.yaml"
_PLACEHOLDER = re.compile(r"\[[^\]]*\]")
_MUST_BE_FILLED = ("controller", "contact", "ethics", "retention", "age")
_TOLD = ("risks", "payment", "legal_basis", "recipients", "rights")  # with the consent, where the design has them


# Fields that came after the first databases: at their defaults a design keeps the hash that it had.
_LATER = {
    "": ("questions", "mobile", "minutes_limit", "returning", "arrivals_per_minute", *_TOLD),
    "codes": ("time_over", "stopped"),
    "analysis": ("thresholds", "incomplete"),
}
# At their defaults these are not written, so that a design's YAML stays what it was.
_UNWRITTEN = {
    "": ("returning", "arrivals_per_minute", *_TOLD),
    "codes": ("stopped",),
    "analysis": ("incomplete",),
}

QualityRule = Literal[
    "attention", "catch", "too_fast", "same_side", "practice_rounds", "total_time", "instruction_time"
]


class Thresholds(Part):
    """What the rules of ``checks`` are judged by; fixed with the design, whether or not a rule excludes.

    Attributes:
        catch_right: least share of the catch trials right; fast_ms: least median response time.
        one_side: share of the decided answers on one side that is too much.
        practice_rounds: most rounds until practice is passed.
        total_minutes, instruction_seconds: least and most, from entry to the end and on the instructions.
    """

    catch_right: float = Field(0.5, ge=0, le=1)
    fast_ms: float = Field(900, ge=0)
    one_side: float = Field(0.95, gt=0.5, le=1)
    practice_rounds: int = Field(2, ge=1, le=3)
    total_minutes: tuple[float, float] = (2, 120)
    instruction_seconds: tuple[float, float] = (5, 1800)

    @model_validator(mode="after")
    def _check(self) -> Thresholds:
        for name in ("total_minutes", "instruction_seconds"):
            least, most = getattr(self, name)
            if not 0 <= least < most:
                raise ValueError(f"“{name}” is the least and the most, such as [5, 60]")
        return self


class Analysis(Part):
    """What is fixed before the data: anything else is exploratory.

    Attributes:
        outcome: ``agree`` (1; disagree and cannot tell are 0); sidedness: of the test.
        target_participants: before these have completed, an analysis is interim; alpha: level of the test.
        exclusions: rules of ``checks`` whose participants are left out; thresholds: of all rules.
        secondary: outcomes tested with Holm's step-down, together with the ratings among the design's questions.
        incomplete: whether the answers of people who did not finish are analysed.
        stopping: in words.
    """

    outcome: Literal["agree"] = "agree"
    sidedness: Literal["two-sided", "greater"] = "two-sided"
    target_participants: int = Field(60, ge=2)
    alpha: float = Field(0.05, gt=0, lt=0.5)
    exclusions: tuple[QualityRule, ...] = ("attention", "catch")
    incomplete: Literal["include", "exclude"] = "include"
    thresholds: Thresholds = Field(default_factory=Thresholds)  # type: ignore[arg-type]
    secondary: tuple[str, ...] = ("half_credit", "cannot_tell", "rt", "confidence")
    stopping: str = "Recruitment stops when the quota is full."


class Question(Part):
    """One question of the comprehension check: its options and the index of the right one."""

    question: str = Field(min_length=1)
    options: tuple[str, ...] = Field(min_length=2)
    correct: int = Field(ge=0)

    @model_validator(mode="after")
    def _check(self) -> Question:
        if self.correct >= len(self.options):
            raise ValueError("“correct” counts the options from 0 and must name one of them")
        return self


class Texts(Part):
    """What participants read, in Markdown."""

    question: str = "Which region of the photograph made the network decide?"
    choices: tuple[str, str, str] = ("Region 1", "Region 2", "Cannot tell")
    consent: str = Field(min_length=1)
    instructions: tuple[str, ...] = Field(min_length=1)
    comprehension: tuple[Question, ...] = ()
    pause: str = "Half of it is done. Take a break if you like."
    debrief: str = "Thank you."


class Codes(Part):
    """Completion codes by outcome and the https address that takes them.

    Attributes:
        time_over: of who has not finished within the study's time limit; needed only with one.
        stopped: of who stops early and keeps their answers in the study; empty: they get none.
    """

    complete: str = Field(min_length=1)
    declined: str = Field(min_length=1)
    screened_out: str = Field(min_length=1)
    failed: str = Field(min_length=1)
    time_over: str = ""
    stopped: str = ""
    return_url: str = Field("", pattern=r"^(|https://.+)$")


class Design(Part):
    """A study.

    Attributes:
        name, version: of the study; demo: tries the software, measures nothing.
        conditions: what is shown beside the photograph; arrangement: every person meets all of them, or one.
        order: conditions interleaved, or one block after the other with their order counterbalanced.
        trials: main trials a person; practice, catch, repeats, attention: how many of these.
        practice_rounds, practice_pass: rounds at most, right answers that end them; practice_fail: what follows then.
        entry: how people get in: ``link``, with the id in the address (a recruiting service's or a personal link);
            ``typed``, the id is asked for where the address has none; ``open``, and it may be left out; ``signed``, by
            personal links only.
        returning: what lets people go on in another browser: ``token``, the return code that the consent page shows,
            or a personal link; ``id``, the id alone as well, so that whoever knows it goes on in its place.
        arrivals_per_minute: new people from one network; personal links are not counted. A room full of people behind
            one address needs more than the default, and somebody who invents people is held up by less.
        show_class: whether the class's name is shown; a labelled variant, since a name lets people ignore the image.
        confidence: ask for it after each choice.
        min_view_ms, time_limit_ms: answers before are ignored; a trial ends after, None: never.
        minutes_limit: of the whole study from the consent on, None: no limit; what is not answered then is missing.
        min_width: of the window, px; mobile: whether phones and tablets are let in.
        quota: completed participants; expire_minutes: an idle start frees its cell.
        pause_every: main trials between two breaks, 0: none.
        seed: of the order of class neurons.
        controller, contact, ethics, retention, age: what the consent must say; publishing refuses ``[placeholders]``.
        risks, payment, legal_basis, recipients, rights: what it says besides; empty: nothing.
        questions: asked after each choice, beside the confidence; texts, codes, analysis: see there.
    """

    name: str = Field(min_length=1, max_length=120)
    version: int = Field(1, ge=1)
    demo: bool = False
    conditions: tuple[ConditionName, ...] = ("dense", "spade", "none")
    arrangement: Literal["within", "between"] = "within"
    order: Literal["interleaved", "blocked"] = "interleaved"
    trials: int = Field(12, ge=1, le=500)
    practice: int = Field(6, ge=0, le=30)
    catch: int = Field(2, ge=0, le=50)
    repeats: int = Field(2, ge=0, le=50)
    attention: int = Field(2, ge=0, le=10)
    practice_rounds: int = Field(3, ge=1, le=3)
    practice_pass: int = Field(4, ge=0)
    practice_fail: Literal["leave", "flag"] = "flag"
    entry: WaysIn = "open"
    returning: WaysBack = "token"
    arrivals_per_minute: int = Field(10, ge=1, le=10_000)
    show_class: bool = False
    confidence: bool = True
    min_view_ms: int = Field(500, ge=0, le=10_000)
    time_limit_ms: int | None = Field(None, ge=2_000)
    minutes_limit: float | None = Field(None, ge=1, le=1440)
    min_width: int = Field(700, ge=320)
    mobile: Literal["excluded", "allowed"] = "allowed"
    quota: int = Field(60, ge=1)
    expire_minutes: float = Field(60, gt=0)
    pause_every: int = Field(10, ge=0)
    seed: int = Field(0, ge=0)
    controller: str
    contact: str
    ethics: str
    retention: str
    age: str
    risks: str = ""
    payment: str = ""
    legal_basis: str = ""
    recipients: str = ""
    rights: str = ""
    questions: Questions = Field(default_factory=Questions)  # type: ignore[arg-type]
    texts: Texts
    codes: Codes
    analysis: Analysis = Field(default_factory=Analysis)  # type: ignore[arg-type]

    @model_validator(mode="after")
    def _check(self) -> Design:
        if len(set(self.conditions)) < len(self.conditions) or len(self.conditions) < 2:
            raise ValueError("“conditions” needs at least two different ones")
        if self.practice_pass > self.practice:
            raise ValueError("“practice_pass” cannot be more than “practice”")
        if self.repeats > self.trials:
            raise ValueError("“repeats” cannot be more than “trials”")
        if self.arrangement == "within" and self.trials < len(self.conditions):
            raise ValueError("“trials” must be at least the number of conditions")
        if self.minutes_limit is not None and not self.codes.time_over:
            raise ValueError("a study with “minutes_limit” needs the completion code “time_over” among its “codes”")
        codes = [code for name, code in self.codes.model_dump().items() if name != "return_url" and code]
        if len(set(codes)) < len(codes):
            raise ValueError("the completion codes among “codes” must differ")
        return self

    def content(self) -> dict[str, object]:
        """Return what the hash is about."""
        return self._without_defaults(_LATER)

    def _without_defaults(self, fields: Mapping[str, Sequence[str]]) -> dict[str, object]:
        """Return all values but those of these fields, by part, that are at their defaults."""
        content = self.model_dump(mode="json")
        for name, later in fields.items():
            part, values = (getattr(self, name), content[name]) if name else (self, content)
            for field in later:
                if getattr(part, field) == type(part).model_fields[field].get_default(call_default_factory=True):
                    del values[field]
        return content

    @property
    def sha256(self) -> str:
        """Return the hash of the design's content, whatever its YAML looked like."""
        return hashlib.sha256(json.dumps(self.content(), sort_keys=True).encode()).hexdigest()

    @property
    def consent_sha256(self) -> str:
        """Return the hash of all that the consent page shows: the text and the study's own facts."""
        shown = [self.texts.consent, *(getattr(self, name) for name in _MUST_BE_FILLED)]
        if self.minutes_limit is not None:
            shown.append(f"{self.minutes_limit:g} minutes")
        shown += [f"{name}: {text}" for name in _TOLD if (text := getattr(self, name))]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()

    def to_yaml(self) -> str:
        """Return the design as YAML; :func:`parse_design` reads it back to an equal one."""
        values = self._without_defaults(_UNWRITTEN)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)

    @property
    def after_practice(self) -> int:
        """Return how many trials everybody gets after practice."""
        return self.trials + self.repeats + self.catch + self.attention

    def placeholders(self) -> list[str]:
        """Return the fields whose text is still a placeholder, or empty."""
        texts = {name: str(getattr(self, name)) for name in (*_MUST_BE_FILLED, *_TOLD)}
        empty = [name for name in _MUST_BE_FILLED if not texts[name].strip()]
        return [name for name, text in texts.items() if name in empty or _PLACEHOLDER.search(text)]

    def check_set(self, stimuli: StimulusSet) -> None:
        """Check that the set can serve this design.

        Raises:
            ConfigError: too few items of a role, a condition without files, no visualization in practice, or one class
                neuron twice among the main items of a study that is no demo.
        """
        lacking = set(self.conditions) - stimuli.conditions()
        if lacking:
            raise ConfigError(
                f"The stimulus set has nothing for the condition {min(lacking)}: leave it out, or build the set with "
                "“study build --references DIR”."
            )
        main = stimuli.of("main")
        neurons = {item.class_neuron for item in main}
        if len(neurons) < self.trials:
            raise ConfigError(
                f"The design asks for {self.trials} main trials a person, each of another class neuron; "
                f"the set has {len(neurons)} class neurons: lower “trials” or build more items."
            )
        if len(neurons) < len(main) and not (self.demo or stimuli.demo):
            raise ConfigError("Two main items show the same class neuron: build the set with one item a class.")
        for role, wanted in (("practice", self.practice), ("catch", self.catch)):
            if len(stimuli.of(role)) < wanted:
                raise ConfigError(
                    f"The design asks for {wanted} {role} items, the set has {len(stimuli.of(role))}: lower “{role}” "
                    "or build more."
                )
        files = [item.files.keys() for item in stimuli.of("practice")]
        if self.practice and not any(CONDITIONS[name].file in of for of in files for name in self.conditions):
            raise ConfigError(
                "No practice item of the set has a visualization, so that people would meet the first one in the "
                "trials that count: build the set again; “study build” draws two of its practice items."
            )
        easy = len(stimuli.of("catch"))
        if easy < self.attention:
            raise ConfigError(
                f"Attention checks are laid over as many catch items: {self.attention}, and the set has {easy}. "
                f"Lower “attention” or build {self.catch + self.attention} catch items, so that none is shown twice."
            )


def parse_design(text: str) -> Design:
    """Return the design of a YAML text.

    Raises:
        ConfigError: no YAML, an unknown or missing field, or a value outside its range: a sentence that names it.
    """
    try:
        values = Loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(unreadable(error, text)) from error
    if not isinstance(values, Mapping):
        raise ConfigError("The design must be a YAML mapping such as “name: My study”; start from the template.")
    try:
        return Design.model_validate(values)
    except ValidationError as error:
        raise ConfigError(invalid(error, text, Design)) from error


def load_design(path: str | Path) -> Design:
    """Return the design of a YAML file.

    Raises:
        ConfigError: see :func:`parse_design`; or the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The design {path} cannot be read: give a YAML file; the template shows one.") from error
    return parse_design(text)


def demo_design() -> Design:
    """Return the template as a demo: its placeholders may stay, and it says that it measures nothing."""
    template = load_design(TEMPLATE)
    facts = {
        "controller": "nobody: this is a demo, and nothing that you enter is evaluated.",
        "contact": "whoever showed you this demo.",
        "ethics": "none, since nothing is measured.",
        "retention": "until whoever runs this demo deletes them.",
        "age": "This is a demo.",
        "payment": "none.",
        "legal_basis": "none is needed, since nothing is evaluated.",
        "recipients": "nobody.",
    }
    return template.model_copy(update={"demo": True, "name": "Demo study", **facts})


LEAST_FOR_SIDE = 8  # decided answers before sides are judged
