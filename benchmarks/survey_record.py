"""A bot's whole participation over the survey page's websocket, and all that the server sent around each trial."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.serving import ROOT
from benchmarks.survey_client import Heard, SurveyClient
from spade_core.study import vocabulary
from spade_core.study.data.store import Store
from spade_core.study.data.tables import Trial
from spade_core.study.design.design import Design
from spade_core.study.running import person
from spade_core.study.stimuli.stimulus_set import StimulusSet
from spade_core.study.vocabulary import CHOICES

# Words that say nothing of a trial, among them the place of the server's script, which Streamlit tells every page.
PUBLIC = (str(ROOT), "SPADE Studio", "spade_core", "pages/")
TELLING = ("dense", "spade", "scorecam", "'catch'", '"catch"')
FEEDBACK = re.compile(r'"trial_id": ?"([0-9a-f]{32})"[^\0]*?"feedback": ?(null|\{)')  # by the route without spaces
OUTCOMES = vocabulary.TERMINAL
STEPS = 400  # of a participation, at most


@dataclass(frozen=True)
class Record:
    """One participation.

    Attributes:
        heard: every frame; trials: answered ones as the database has them, in their order.
        sent: trial id -> number of frames that had come when its answer went off; seconds: until it was acknowledged.
        acknowledged: trial id -> number of frames that had come by then; finished: when the debrief was sent off.
        queries: trial id -> the page's address; choices: trial id -> what was answered.
        code: the design's completion code was on the last page.
    """

    heard: list[Heard]
    trials: list[Trial]
    sent: dict[str, int]
    seconds: dict[str, float]
    acknowledged: dict[str, int]
    queries: dict[str, str]
    choices: dict[str, str]
    finished: int
    code: bool


@dataclass(frozen=True)
class Seen:
    """What came around one trial: from the first frame that names it to the acknowledgement of its answer.

    Attributes:
        text: address and frames that name it, pictures taken out; pictures: their data URIs' lengths.
        sizes: of all frames in that time, bytes; seconds: until its answer was acknowledged.
    """

    trial: Trial
    text: str
    pictures: tuple[int, ...]
    sizes: tuple[int, ...]
    seconds: float

    @property
    def numbers(self) -> list[float]:
        """Return counts, sizes and times; always as many."""
        two = [*sorted(self.pictures)[:2], 0, 0][:2]
        return [len(self.sizes), sum(self.sizes), max(self.sizes), len(self.pictures), *two, self.seconds]


@dataclass(frozen=True)
class Bot:
    """A bot that has entered; ``rng`` draws its answers."""

    key: str
    entry: person.Participation
    rng: random.Random


def enter_bot(store: Store, key: str, number: int, seed: int) -> Bot:
    """Let a bot enter.

    Args:
        number, seed: of the bot and of all of them: which schedule and answers it gets.
    """
    rng = random.Random(f"{seed}/{number}")  # noqa: S311 - repeatable
    schedule = f"{rng.getrandbits(128):032x}"
    entry = person.enter(store, key, external_id=f"read{seed}-{number}", is_bot=True, policy="read", seed=schedule)
    return Bot(key, entry, rng)


def participate(
    url: str,
    store: Store,
    bot: Bot,
    *,
    think: tuple[float, float] = (0.0, 0.0),
    gate: threading.Barrier | None = None,
    by_route: bool = True,
) -> Record:
    """Let one bot take part by the page itself, from the device check to the completion code; reads the database only.

    Args:
        think: least and most seconds before each answer; by_route: see :class:`SurveyClient`.
        gate: where bots wait for each other, before the first trial and after the last one.
    """
    entry, rng = bot.entry, bot.rng
    client = SurveyClient(url, f"study={bot.key}&r={entry.token}", by_route=by_route)
    try:
        who = person.person(store, bot.key, entry.token)
        if who is None:
            raise RuntimeError("the token just given finds nobody")
        _introduction(client, who.design)
        if gate is not None:
            gate.wait()
        sent: dict[str, int] = {}
        seconds: dict[str, float] = {}
        acknowledged: dict[str, int] = {}
        queries: dict[str, str] = {}
        choices: dict[str, str] = {}
        for trial in _shown(client, store, entry.uid):
            time.sleep(rng.uniform(*think))
            sent[trial.id], queries[trial.id] = len(client.heard), client.query
            answer = _answer(trial, rng)
            choices[trial.id] = str(answer["choice"])
            seconds[trial.id] = client.answer(answer)
            acknowledged[trial.id] = len(client.heard)
            if trial.type == "practice":
                client.go_on(trial.id)
        if gate is not None:
            gate.wait()
        finished = len(client.heard)
        client.press("Finish")
        code = who.design.codes.complete in client.text()
        trials = _trials(store, entry.uid)
        return Record(client.heard, trials, sent, seconds, acknowledged, queries, choices, finished, code)
    finally:
        client.close()


def trials_of(record: Record) -> list[Seen]:
    """Return what came around each trial, in their order."""
    return [_seen(record, trial) for trial in record.trials]


def early(record: Record, design: Design) -> list[str]:
    """Return in words what came before its time: a practice answer, a completion code, another outcome's code."""
    found = []
    for place, heard in enumerate(record.heard):
        found += [
            f"frame {place} has the feedback of trial {trial_id}, which was not answered"
            for trial_id, state in FEEDBACK.findall(heard.text)
            if state == "{" and place < record.sent.get(trial_id, len(record.heard))
        ]
        found += [
            f"frame {place} has the code for “{outcome}”"
            for outcome in OUTCOMES
            if (code := getattr(design.codes, outcome))
            and code in heard.text
            and (place < record.finished or outcome != "complete")
        ]
    return found


def telling(record: Record, stimuli: StimulusSet) -> list[str]:
    """Return the words in frames that name a condition, a stimulus, a class neuron or a file."""
    names = {name.lower() for item in stimuli.items for name in (item.id, item.class_neuron, *item.files.values())}
    found: set[str] = set()
    for text in {heard.text for heard in record.heard}:
        rest = text
        for word in PUBLIC:
            rest = rest.replace(word, "")
        rest = rest.lower()
        found.update(word for word in (*TELLING, *names) if word in rest)
    return sorted(found)


def _introduction(client: SurveyClient, design: Design) -> None:
    """Go from the device check to the first practice trial."""
    client.tell_window()
    client.press("Continue")
    client.tick("I have read this")
    client.press("Take part")
    for _ in design.texts.instructions:
        client.press("Next")
    if design.texts.comprehension:
        client.choose([question.correct for question in design.texts.comprehension])
        client.press("Check")


def _shown(client: SurveyClient, store: Store, uid: str) -> Iterator[Trial]:
    """Yield the trials that the page shows, past breaks, until there are no more."""
    for _ in range(STEPS):
        name = client.trial()
        if name is not None:
            trial = store.read(lambda session, name=name: session.get(Trial, name))  # type: ignore[misc]
            if trial is None or trial.participant_uid != uid:
                raise RuntimeError("the page shows a trial that is not this participant's")
            yield trial
        elif client.has("button", "Go on"):
            client.press("Go on")
        else:
            return


def _answer(trial: Trial, rng: random.Random) -> dict[str, object]:
    """Answer practice and attention trials as asked, and guess otherwise."""
    choice = trial.required or (trial.reference_side if trial.type == "practice" else rng.choice(CHOICES))
    return {
        "trial_id": trial.id, "choice": choice, "confidence": rng.randint(1, 3), "extra": {}, "timed_out": False,
        "rt_ms": rng.uniform(600, 1900), "rt_source": "browser",  # longer times than it looked would be refused
    }  # fmt: skip


def _trials(store: Store, uid: str) -> list[Trial]:
    def work(session: Session) -> list[Trial]:
        query = select(Trial).where(Trial.participant_uid == uid, Trial.answered.is_not(None))
        return list(session.scalars(query.order_by(Trial.index)))

    return store.read(work)


def _seen(record: Record, trial: Trial) -> Seen:
    end = record.acknowledged[trial.id]
    begin = next(place for place, heard in enumerate(record.heard) if trial.id in heard.text)
    around = record.heard[begin:end]
    own = [heard for heard in around if trial.id in heard.text]
    text = "\n".join([record.queries[trial.id], *(heard.text for heard in own)])
    pictures = tuple(length for heard in own for length in heard.pictures)
    return Seen(trial, text, pictures, tuple(heard.size for heard in around), record.seconds[trial.id])
