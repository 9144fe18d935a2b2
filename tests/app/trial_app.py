"""A page with six trials, for the tests and the timing of the trial component; its answers go to JSON-lines files.

Address: ``?run=NAME&trials=N&confidence=1&refuse=K&practice=1&limit=MS&crops=C&still=1&extra=1``. Answers:
``NAME.jsonl`` in the folder SPADE_TRIAL_LOG; every arrival: ``NAME.arrived.jsonl``. The first K arrivals of each trial
are neither stored nor acknowledged; with ``again`` they are refused for good, and the trial is asked once more. C
pictures stand beside the photograph. Without ``still`` every run
changes the component's data.
"""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from spade_core.config import ASSETS
from spade_core.study.design.questions import Questions
from spade_core.study.running.trial_view import TrialView
from spade_core.ui.participant.component import show_trial

REGIONS = (
    ((0.1, 0.35, 0.25), (0.6, 0.3, 0.25)),
    ((0.0, 0.0, 0.3), (0.7, 0.0, 0.3)),
    ((0.2, 0.7, 0.3), (0.5, 0.7, 0.3)),
)
EXTRA = Questions.model_validate(
    {
        "extra": [
            {
                "name": "help",
                "kind": "rating",
                "text": "How much did it help?",
                "low": 0,
                "high": 4,
                "required": True,
                "labels": ["not at all", "very much"],
            },
            {"name": "why", "kind": "text", "text": "What did you look at?", "max_length": 12},
        ],
    }
)


def main() -> None:
    """Draw the first trial without an accepted answer."""
    st.set_page_config(layout="wide")
    asked = st.query_params
    run = asked.get("run", "default")
    folder = Path(os.environ["SPADE_TRIAL_LOG"])
    drawn = st.session_state["drawn"] = st.session_state.get("drawn", 0) + 1
    done = accepted(folder, run)
    read = st.session_state.setdefault("read", set())
    ids = [f"{run}{index:02d}" for index in range(int(asked.get("trials", 6)))]
    left = [one for one in ids if one not in done or ("practice" in asked and one not in read)]
    if left:
        answer = show_trial(
            view_of(left[0], ids, answered=left[0] in done),
            key=f"k{run}",
            # Changes with every run, so that the script is called every time.
            acknowledged=done if "still" in asked else [*done, f"draw{drawn}"],
            upcoming=view_of(left[1], ids) if len(left) > 1 else None,
            attempt=min(arrivals(folder, run, left[0]), int(asked["refuse"])) if "again" in asked else 0,
            on_answer=lambda answer: receive(folder, run, answer),
            on_continue=read.add,
        )
        if answer is not None and receive(folder, run, answer, body=True):
            st.rerun()
    else:
        st.markdown("All answered.")
    st.button("Draw again")
    st.text_input("Note")
    st.markdown(f"drawn {drawn}")


def accepted(folder: Path, run: str) -> list[str]:
    """Return the trial ids with an answer."""
    return [answer["trial_id"] for answer in read_lines(folder / f"{run}.jsonl")]


def read_lines(path: Path) -> list[dict]:
    """Return the rows of a JSON-lines file, none if it is missing."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def arrivals(folder: Path, run: str, trial_id: str) -> int:
    """Return how many answers to a trial arrived; where it is asked again, repetitions of one count once."""
    rows = [row for row in read_lines(folder / f"{run}.arrived.jsonl") if row["trial_id"] == trial_id]
    return len({row["onset_utc"] for row in rows}) if "again" in st.query_params else len(rows)


def receive(folder: Path, run: str, answer, body: bool = False) -> bool:
    """Store an answer once; return whether it was new."""
    if not body:
        with (folder / f"{run}.arrived.jsonl").open("a") as file:
            file.write(json.dumps(dict(answer)) + "\n")
    refused = int(st.query_params.get("refuse", 0))
    if arrivals(folder, run, answer["trial_id"]) <= refused or answer["trial_id"] in accepted(folder, run):
        return False
    with (folder / f"{run}.jsonl").open("a") as file:
        file.write(json.dumps(dict(answer)) + "\n")
    return True


def view_of(trial_id: str, ids: list[str], answered: bool = False) -> TrialView:
    """Return a trial with pictures of its own."""
    index = ids.index(trial_id)
    asked = st.query_params
    beside = {f"visualization {crop}": picture(100 * crop + index) for crop in range(int(asked.get("crops", 1)))}
    pictures = {"picture": picture(index, bundled=True), **beside}
    told = {"reference": "region_1", "text": "The network decided by region 1."}
    return TrialView(
        trial_id,
        pictures,
        REGIONS[index % len(REGIONS)],
        "Which of the two regions made the network decide?",
        ask_confidence="confidence" in asked,
        feedback=told if answered and "practice" in asked else None,
        time_limit_ms=int(asked["limit"]) if "limit" in asked else None,
        extra=EXTRA.extra if "extra" in asked else (),
    )


@st.cache_data
def picture(index: int, bundled: bool = False) -> str:
    """Return a photograph or seeded noise, 300 pixels a side, as a data URI."""
    if bundled:
        path = sorted((ASSETS / "pictures").glob("*.jpg"))[index % 12]
        image = Image.open(path).convert("RGB").resize((300, 300))
    else:
        noise = np.random.default_rng(index).integers(0, 256, (30, 30, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((300, 300), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


main()
