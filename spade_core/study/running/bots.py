"""Simulated participants: they go the same way as people, through the same functions and the same database.

They never take a person's cell or quota, never freeze a design, and are left out of every analysis by default. Their
numbers say how the software behaves, nothing about people.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

from sqlalchemy import select
from sqlalchemy.orm import Session

from spade_core.errors import ConfigError
from spade_core.progress import Progress, silent
from spade_core.study import vocabulary as words
from spade_core.study.admission.devices import Device
from spade_core.study.data.store import Store
from spade_core.study.data.studies import find
from spade_core.study.data.tables import ExternalId, Trial
from spade_core.study.design.schedule import other_region, seeded
from spade_core.study.running import flow
from spade_core.study.running.answers import submit
from spade_core.study.running.person import Participation, Person, enter, person
from spade_core.study.running.standing import turn_page
from spade_core.study.stimuli.stimulus_set import Item

LOOKS_MS = (1400.0, 300.0, 900.0)  # ex-Gaussian of a response time: mean and deviation of the normal part, tail
LEAVES = 0.02  # the drop-out's chance to leave before each trial
RELOADS_EVERY = 3
AT_ONCE = 500  # ids in one query: databases bound the values of a statement


Choose = Callable[[Trial, Item, random.Random], str]  # region_1, region_2 or cannot_tell


def _guess(_trial: Trial, _item: Item, rng: random.Random) -> str:
    return rng.choice(words.REGIONS)


def _rater(trial: Trial, item: Item, rng: random.Random) -> str:
    """Answer as the model rater; without a visualization, guess; practice and catch images show the region itself."""
    if trial.type in (words.PRACTICE, "catch"):
        return trial.reference_side
    sides = {"reference": trial.reference_side, "other": other_region(trial.reference_side)}
    answer = item.answers.get(f"rater_{trial.condition}")
    return _guess(trial, item, rng) if answer is None else sides[answer]


def _shifter(trial: Trial, item: Item, rng: random.Random) -> str:
    """Guess, and say cannot tell more or less often by condition; easy trials are answered right, as people do."""
    if trial.type in (words.PRACTICE, "catch"):
        return trial.reference_side
    return words.CANNOT_TELL if rng.random() < words.CONDITIONS[trial.condition].undecided else _guess(trial, item, rng)


@dataclass(frozen=True)
class Policy:
    """A kind of bot.

    Attributes:
        choose: the answer; attentive: does what an attention check asks.
        hasty: answers just after the least viewing time; leaves: chance to leave before each trial.
        twice: sends every answer twice, the second time another choice; reloads: enters again every few trials.
    """

    choose: Choose
    attentive: bool = True
    hasty: bool = False
    leaves: float = 0.0
    twice: bool = False
    reloads: bool = False


POLICIES: Mapping[str, Policy] = {
    "ideal": Policy(lambda trial, _item, _rng: trial.reference_side),
    "rater": Policy(_rater),
    "random": Policy(_guess, attentive=False),
    "always-left": Policy(lambda _trial, _item, _rng: words.REGIONS[0], attentive=False),
    "fast-clicker": Policy(_guess, attentive=False, hasty=True),
    "drop-out": Policy(_rater, leaves=LEAVES),
    "double-clicker": Policy(_rater, twice=True),
    "reloader": Policy(_rater, reloads=True),
    "undecided-shifter": Policy(_shifter),
}


def simulate(
    store: Store, key: str, participants: int, policy: str, seed: int, *, progress: Progress = silent
) -> dict[str, int]:
    """Let new bots take part in a study; return how many of them ended in which status.

    A bot follows from policy, seed and its number. Where the study has any of them from before, they are numbered as
    those of the next run, so that the same calls on a new study give the same bots in the same order.

    Raises:
        ConfigError: unknown study or policy, a number below 1, or another run adds the same bots at this moment.
    """
    if policy not in POLICIES:
        raise ConfigError(f"There is no policy “{policy}”: take one of {', '.join(POLICIES)}.")
    if participants < 1:
        raise ConfigError(f"The number of participants must be at least 1, not {participants}.")
    run = _next_run(store, key, policy, seed, participants)
    ends: Counter[str] = Counter()
    for number in range(participants):
        progress(number, participants, f"{words.SIMULATED}: bot {number + 1} of {participants}")
        bot = _Bot(store, key, policy, _chances(policy, seed, run, number), f"{seed}/{number}{_of(run)}")
        ends[bot.go()] += 1
    progress(participants, participants, "done")
    return dict(ends)


def _next_run(store: Store, key: str, policy: str, seed: int, participants: int) -> int:
    """Return the number of the first run, from 0, of whose bots the study has none."""

    def is_free(session: Session, run: int) -> bool:
        ids = [_bot_id(_chances(policy, seed, run, number)) for number in range(participants)]
        query = select(ExternalId.external_id).where(ExternalId.study_id == find(session, key).id)
        parts = (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))
        return not any(session.scalar(query.where(ExternalId.external_id.in_(part)).limit(1)) for part in parts)

    return store.read(lambda session: next(run for run in count() if is_free(session, run)))


def _chances(policy: str, seed: int, run: int, number: int) -> random.Random:
    return seeded(f"{seed}/{policy}/{number}{_of(run)}")


def _of(run: int) -> str:
    return f"/run {run}" if run else ""


def _bot_id(rng: random.Random) -> str:
    return f"bot-{rng.getrandbits(64):016x}"


class _Bot:
    def __init__(self, store: Store, key: str, policy: str, rng: random.Random, replies_seed: str) -> None:
        self.store, self.key, self.name, self.rng, self.replies_seed = store, key, policy, rng, replies_seed
        self.policy = POLICIES[policy]
        self.looked_ms = 0.0
        self.external_id = _bot_id(rng)
        entry = self._enter(f"{rng.getrandbits(128):032x}")
        if entry.returned:
            raise ConfigError("Another run adds the same bots at this moment: take another seed, or wait for its end.")
        self.who = self._found(entry.token)

    def go(self) -> str:
        """Go from the device check to the end; return the status."""
        texts, width = self.who.design.texts, max(1280, self.who.design.min_width)
        right = tuple(question.correct for question in texts.comprehension)
        self.who = flow.check_device(self.store, self.who, width=width, device=Device(browser="bot"))
        self.who = flow.consent(self.store, self.who, given=True)
        for page in range(1, len(texts.instructions)):
            turn_page(self.store, self.who, page)
        self.who = flow.finish_instructions(self.store, self.who)
        self.who = flow.comprehend(self.store, self.who, right)
        answered = 0
        while (trial := flow.current_trial(self.store, self.who)) is not None and self.who.row.status == words.ACTIVE:
            if self.rng.random() < self.policy.leaves:
                return words.LEFT
            if self.who.design.minutes_limit is not None:
                self.who = flow.run_out(self.store, self.who, ahead=self.looked_ms / 1000)
            if self.who.row.status != words.ACTIVE:
                break
            if self.policy.reloads and answered % RELOADS_EVERY == RELOADS_EVERY - 1:
                self.who = self._found(self._enter(None).token)
            self._answer(trial)
            answered += 1
            self.who = self._found(self.token)
        self.who = flow.finish_study(self.store, self.who)
        return self.who.row.status

    def _enter(self, seed: str | None) -> Participation:
        own = self.external_id  # nobody else's, which "signed" says
        return enter(self.store, self.key, external_id=own, signed=True, is_bot=True, policy=self.name, seed=seed)

    def _found(self, token: str) -> Person:
        self.token = token
        found = person(self.store, self.key, token)
        if found is None:
            raise RuntimeError("the token just given finds nobody")
        return found

    def _answer(self, trial: Trial) -> None:
        item = self.who.study.stimuli.item(trial.stimulus_id)
        choice = self.policy.choose(trial, item, self.rng)
        if trial.required is not None and self.policy.attentive:
            choice = trial.required
        least, limit = self.who.design.min_view_ms, self.who.design.time_limit_ms
        mean, deviation, tail = LOOKS_MS
        if self.policy.hasty:
            rt_ms = least + self.rng.uniform(5, 60)
        else:
            rt_ms = least + max(0.0, self.rng.gauss(mean, deviation)) + self.rng.expovariate(1 / tail)
        sure = self.rng.randint(1, len(words.CONFIDENCE)) if self.who.design.confidence else None
        own = seeded(
            f"{self.replies_seed}/{trial.index}"
        )  # the same whatever the policy, apart from the choices' chances
        replies = {question.name: question.pretend(own) for question in self.who.design.questions.of(trial.type)}
        answer = {"choice": choice, "rt_ms": rt_ms, "confidence": sure, "extra": replies}
        if limit is not None and rt_ms > limit:
            answer, rt_ms = {"timed_out": True}, limit
        self.looked_ms += rt_ms
        told = {"trial_id": trial.id, "rt_source": words.BROWSER, **answer}
        submit(self.store, self.who, told)
        if self.policy.twice:
            submit(self.store, self.who, told)
            submit(self.store, self.who, {**told, "choice": words.REGIONS[choice == words.REGIONS[0]]})
