"""Does anything but the pixels tell a trial's condition? All that the server sends to bots, and classifiers on it.

    python -m benchmarks.study_blinding --people 120

Bots go through the demo study on the survey page of a real server, by its own websocket messages. Every frame is kept,
with the pictures taken out and their sizes left in; classifiers then guess dense or SPADE for trials of participants
and class neurons that they have not seen. Each bot has a study of its own with another order of class neurons, so that
conditions follow from nothing but chance. As a control the same classifiers get whether a trial is dense or SPADE,
hidden in noise. Some bots more go in headless Chromium, where address, storage, alternative texts and page are read.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.blind_guess import guess, number_kernel, word_kernel
from benchmarks.serving import serving
from benchmarks.survey_browser import pages_of
from benchmarks.survey_record import Record, Seen, early, enter_bot, participate, telling, trials_of
from spade_core.study.data.store import Store
from spade_core.study.data.studies import publish
from spade_core.study.design.design import Design, demo_design
from spade_core.study.stimuli.stimulus_set import DEMO_SET, StimulusSet, load_set

COMPARED = ("dense", "spade")
LEAK = 2.0  # noise of the control, in differences between the conditions: such a leak is guessed in 60 %


def main() -> None:
    """Take part, guess and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_blinding", description=__doc__.split("\n")[0])
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--people", type=int, default=40, help="bots by the websocket")
    parser.add_argument("--browsers", type=int, default=2, help="bots in headless Chromium, beside the others")
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    stimuli, design = load_set(DEMO_SET), demo_design()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder) / 'study.sqlite3'}", lasting=False)
        orders = [design.model_copy(update={"seed": options.seed * 10_000 + one}) for one in range(options.people)]
        keys = [publish(store, one, stimuli) for one in orders]
        with serving("app.py", {"SPADE_DATA_DIR": folder, "SPADE_JOBS": "inline"}) as url:
            records = [
                participate(url, store, enter_bot(store, key, number, options.seed)) for number, key in enumerate(keys)
            ]
            _frames(records, design, stimuli)
            seen = [one for record in records for one in trials_of(record)]
            _guesses(seen, stimuli, options.permutations, options.seed)
            _pages(pages_of(options.chromium, url, store, publish(store, design, stimuli), options.browsers))
        store.close()


def _frames(records: Sequence[Record], design: Design, stimuli: StimulusSet) -> None:
    """Print what the frames hold that they should not."""
    words = sorted({word for record in records for word in telling(record, stimuli)})
    _say(f"SIMULATED: {len(records)} bots, {sum(len(record.heard) for record in records)} frames")
    _say(f"  completion code at the end: {sum(record.code for record in records)}")
    _say(f"  practice answers or codes before their time: {sum(len(early(record, design)) for record in records)}")
    _say(f"  words that name a condition, stimulus, class neuron or file: {', '.join(words) or 'none'}")


def _guesses(seen: Sequence[Seen], stimuli: StimulusSet, permutations: int, seed: int) -> None:
    """Print sizes and how well words, numbers and both tell dense from SPADE, and a weak leak beside them."""
    rows = [one for one in seen if one.trial.type == "main" and one.trial.condition in COMPARED]
    lengths = Counter(length for one in seen for length in one.pictures)
    _say(f"  lengths of {sum(lengths.values())} pictures sent: {', '.join(map(str, sorted(lengths)))}")
    labels = np.array([one.trial.condition == "spade" for one in rows])
    people = [one.trial.participant_uid for one in rows]
    neurons = [stimuli.item(one.trial.stimulus_id).class_neuron for one in rows]
    words, numbers = word_kernel([one.text for one in rows]), number_kernel(np.array([one.numbers for one in rows]))
    noise = np.random.default_rng(seed).normal(size=len(rows))
    leak = number_kernel((labels + LEAK * noise)[:, None])
    _say(f"  dense or SPADE, {len(rows)} main trials of {len(set(people))} bots, {len(set(neurons))} class neurons:")
    kernels = {"words": words, "numbers": numbers, "both": words + numbers, "control: a leak": leak}
    for name, kernel in kernels.items():
        _say(f"    {name:<20} {guess(kernel, labels, people, neurons, permutations=permutations, seed=seed)}")


def _pages(seen: Sequence[tuple[str, str]]) -> None:
    """Print whether pages in the browser differ between the conditions."""
    kinds = {name: {page for condition, page in seen if condition == name} for name in COMPARED}
    counts = Counter(condition for condition, _ in seen)
    same = "the same" if kinds["dense"] == kinds["spade"] else "NOT the same"
    _say(
        f"  in Chromium, address, storage, alternative texts and page of {counts['dense']} dense and "
        f"{counts['spade']} SPADE trials, without ids and places: {same} ({len(kinds['dense'])} kind)"
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
