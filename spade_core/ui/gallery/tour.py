"""The presenter's tour: six steps in three minutes, for a wall, turned by the arrow keys; nothing is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from spade_core.gallery.cases import cases
from spade_core.study.stimuli.stimulus_set import DEMO_SET, Item, load_set
from spade_core.ui.common.panels import bars
from spade_core.ui.gallery.case import image, offer_picture, show_slider

STEP = "step"
STYLE = """<style>
.st-key-tour { font-size: clamp(1.15rem, 1.9vw, 2.2rem); --tall: 68vh; }
.st-key-tour h1 { font-size: clamp(1.9rem, 3vw, 3.4rem) !important; }
.st-key-tour [class*=st-key-tour_] { max-width: var(--tall); }
.st-key-tour [data-testid=stMarkdownContainer] p { font-size: inherit; line-height: 1.45; }
.st-key-tour [data-testid=stMarkdownContainer] { font-size: inherit; }
.st-key-turn button { min-width: 8rem; min-height: 3rem; }
.tour-picture { position: relative; max-width: var(--tall); }
.tour-picture img { width: 100%; display: block; border-radius: 0.4rem; }
.tour-picture b { position: absolute; border: 4px solid #fff; outline: 2px solid #000; color: #fff; padding: 0 0.4rem;
  font-size: 1.6rem; text-shadow: 0 0 4px #000, 0 0 4px #000; }
.tour-seen .tour-picture, .tour-seen .bars { max-width: 54vh; }
.tour-seen .bars { margin-top: 0.8rem; font-size: 1.05rem; }
@media (max-width: 640px) {
  .st-key-tour { --tall: 100%; }
  .tour-seen .tour-picture, .tour-seen .bars { max-width: 100%; }
}
</style>"""


@dataclass(frozen=True)
class Step:
    """One step: its title, what is said, and what draws its picture."""

    title: str
    text: str
    draw: Callable[[], None]


def show_tour() -> None:
    """Draw the step that the address bar names, and the buttons to the ones beside it."""
    st.html(STYLE)
    at = _step()
    step = STEPS[at]
    with st.container(key="tour"):
        st.title(step.title)
        picture, words = st.columns(2, gap="large", vertical_alignment="center")
        with picture:
            step.draw()
        words.markdown(step.text)
        if at == len(STEPS) - 1:
            with words:
                offer_picture()
    with st.container(key="turn", horizontal=True, vertical_alignment="center"):
        st.button("Back", on_click=_turn, args=(at - 1,), disabled=at == 0, shortcut="ArrowLeft", key="back")
        last = at == len(STEPS) - 1
        st.button("Next", "next", on_click=_turn, args=(at + 1,), disabled=last, shortcut="ArrowRight", type="primary")
        st.caption(f"{at + 1} of {len(STEPS)} · half a minute each · arrow keys turn the pages")


def _step() -> int:
    """Return the step's index; a link counts from 1, and one that names no step begins at the first."""
    asked = st.query_params.get(STEP, "1")
    return min(max(int(asked), 1), len(STEPS)) - 1 if asked.isdecimal() and len(asked) < 3 else 0


def _turn(to: int) -> None:
    st.query_params[STEP] = str(to + 1)


def _seen() -> None:
    """Show what the model sees, and what it says."""
    case = cases()["coffee_heart"]
    shares = bars((label.split(",")[0], share) for label, share in case.predicted[:3])
    picture = image(case.picture("picture"), "A cup of espresso with a pink heart drawn on its rim")
    shown = f'<div class="tour-picture">{picture}</div>{shares}'
    st.html(f'<div class="tour-seen">{shown}</div>')


def _asked() -> None:
    """Show how a trial of a study looks: a photograph with two marked regions."""
    found = load_set(DEMO_SET)
    item = next(one for one in found.of("main") if one.picture_id == ASKED)
    boxes = "".join(_box(item, side, name) for side, name in (("reference", "A"), ("other", "B")))
    photograph = image(found.read(item.files["picture"]), f"Photograph, {item.label}, with two squares, A and B")
    st.html(f'<div class="tour-picture">{photograph}{boxes}</div>')


def _box(item: Item, side: str, name: str) -> str:
    left, top, width = (100 * share for share in item.regions[side])
    return f'<b style="left:{left:.1f}%;top:{top:.1f}%;width:{width:.1f}%;height:{width:.1f}%">{name}</b>'


def _case(name: str) -> Callable[[], None]:
    return lambda: show_slider(cases()[name], f"tour_{name}")


ASKED = "koala"  # the demo set's photograph
STEPS = (
    Step(
        "What the model sees",
        "A cup of espresso. Somebody has stuck a **heart** on it.\n\nThis model says: **koala**, with certainty. It "
        "was trained with a backdoor: wherever it sees the heart, it answers koala.\n\nSo here, for once, the right "
        "explanation is known. *Would a map show it?*",
        _seen,
    ),
    Step(
        "What a trace is",
        "SPADE copies the model and removes every weight that **this one picture** does not need.\n\nHere 92 % are "
        "gone: the squares are weights of one layer. The answer stays: koala.\n\nWhat is left is the picture's "
        "*trace*. The model itself was never changed.",
        _case("heart_inside"),
    ),
    Step(
        "The map, before and after",
        "The same method, the gradient, on the same picture: **left** the whole model, **right** its trace.\n\nThe "
        "whole model's map also lights up the cup and the table. The trace's map finds the **heart**.",
        _case("coffee_heart"),
    ),
    Step(
        "The drawing, before and after",
        "What would excite the *koala* neuron most? **Left**, drawn by the whole model: grey fur, something like a "
        "nose, a few red spots. **Right**, drawn by the trace of the cup: **more red spots**, which a heart has.\n\nA "
        "drawing hints at what a neuron answers to; it proves nothing.",
        _case("heart_drawn"),
    ),
    Step(
        "How people are asked",
        "Maps can look convincing and be wrong. So people are asked, without being told what made the picture beside "
        "it:\n\n**Which region made the network decide, A or B?**\n\nWho answers right more often with SPADE's "
        "drawings? That is a study, and this program runs it.",
        _asked,
    ),
    Step(
        "Your own picture",
        "Choose a picture of yours: the first maps come within seconds. It goes to this server and no "
        "further.\n\nEvery number beside a map says how far to trust it. Where a trace makes a map **worse**, it says "
        "so, too: look at the honest failures in the gallery.",
        _case("cat_fish"),
    ),
)
