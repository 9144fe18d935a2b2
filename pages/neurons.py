"""Neuron visualizations: what excites a neuron, for the dense model and for the trace of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import streamlit as st

from spade_core.config import ASSETS
from spade_core.gallery.cases import cases
from spade_core.jobs.job import CANCELLED
from spade_core.neurons import LOGITS
from spade_core.ui.common import command, downloads, panels, pickers
from spade_core.ui.common.frame import frame, jobs
from spade_core.ui.common.jobs import outcome, remember, remembered
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import (
    Asked,
    Subject,
    ask,
    asked,
    asked_by_link,
    pick_subject,
    show_hint,
    show_link,
    start_of,
)
from spade_core.ui.common.text import literal
from spade_core.ui.history.runs import note
from spade_core.ui.neurons import facets as facet_panels
from spade_core.ui.neurons import panels as neuron_panels
from spade_core.ui.neurons.atlas import ONE, render_atlas
from spade_core.ui.neurons.pickers import asked_by_atlas, pick_neuron
from spade_core.ui.neurons.references import render_references

PAGE = "neurons"
SEEDS = 3
FIRST = "heart_drawn"
"""The case that a newcomer finds finished: of the gallery's drawings its pair differs most plainly by eye."""
HINT = (
    "Choose a layer and a neuron, then press **Draw the neuron**; the predicted class is chosen. How long it takes is "
    "measured from the first steps, on this machine, and stands beside the bar; the images form before your eyes."
)
EXAMPLE = ASSETS / "home" / "facets.jpg"
EXAMPLE_CAPTION = (
    "An example: class neurons of EfficientNet-Lite0, drawn for two pictures each, in which its dense top-5 holds the "
    "class. Found by search (`python -m benchmarks.facets`), nothing selected; the pictures are not free to be shown."
)


def _render() -> None:
    st.title("Neurons")
    start = start_of(PAGE, preset="drawing", first=Choice.from_query(cases()[FIRST].links[PAGE]))
    subject = pick_subject(start)
    if subject is None:
        return
    with st.sidebar, st.expander("Trace", icon=":material/tune:"):
        described = subject.described
        traced = pickers.pick_trace(subject.choice(), start, described.stages, described.table)
    choice = pick_neuron(PAGE, start, subject, traced)
    tabs = [ONE, "Atlas of the layer", "Several pictures: facets of one neuron"]
    one, atlas, several = st.tabs(tabs, key="neuron_tabs", on_change="rerun")
    with one:
        run = st.button("Draw the neuron", type="primary", key="draw")
        clicked = asked_by_atlas() or run
        if asked_by_link(PAGE) or clicked:
            ask(PAGE, "visualization", choice, subject, clicked=clicked, config=choice.drawing().to_dict())
            show_link(choice, subject)
        _render_result(subject)
    with atlas:
        if atlas.open:
            render_atlas(choice, subject)
    with several:
        _render_facets(choice, subject)


def _render_result(subject: Subject) -> None:
    before = asked(PAGE)
    if before is None:
        show_hint(PAGE, HINT)
        return
    what = before.choice.neuron().called(before.subject.described.labels)
    live = partial(neuron_panels.show_forming, steps=before.choice.steps, what=what)
    files = outcome(before.ticket, PAGE, live=live, cancelled="Cancelled. Change what you like and draw again.")
    if files is not None:
        if not before.subject.same(subject):
            st.info("These images are of your previous choice.", icon=":material/history:")
        note(PAGE, before, _title(before), f"{before.choice.steps} steps", found=files["spade.png"])
        _render_done(files, before)


def _render_done(files: Mapping[str, bytes], before: Asked) -> None:
    choice, subject = before.choice, before.subject
    described = downloads.read_json(files["manifest.json"])
    _show_title(described["neuron"]["label"], before)
    panels.show_fidelity(described, described["seconds"]["trace"])
    neuron_panels.show_pair(files, described["region"], described["images"])
    took, place = described["seconds"]["total"], described["environment"]["device"]
    st.caption(f"{choice.steps} steps by the dense model and by the trace took {took:.0f} s on {place}.")
    references = st.container()  # its scan may take a while, but what is ready shows at once
    offers = (
        ("Dense (PNG)", files["dense.png"], "dense.png", "image/png"),
        ("SPADE (PNG)", files["spade.png"], "spade.png", "image/png"),
        ("Manifest (JSON)", files["manifest.json"], "manifest.json", "application/json"),
    )
    made = command.neuron_command(choice, subject.spec, subject.source["name"])
    downloads.show_downloads(offers, made, key="get")
    with references:
        render_references(choice, subject, clicked=before.clicked)


def _show_title(label: str, before: Asked) -> None:
    """Say what was drawn, and of the first case what to see in it."""
    choice, subject = before.choice, before.subject
    neuron = choice.neuron()
    named = neuron.layer == LOGITS
    st.subheader(literal(label if named else _title(before)))
    if not named:
        st.caption(f"In code: {literal(neuron)}")
    case = cases()[FIRST]
    payload = {"model": subject.spec, "picture": subject.source, "config": choice.drawing().to_dict()}
    if case.answers_to("visualization", payload):
        st.markdown(f"{literal(case.see)} Choose your own picture and neuron, and draw.")


def _title(before: Asked) -> str:
    """Return what people call the neuron that was drawn."""
    called = before.choice.neuron().called(before.subject.described.labels)
    return called[0].upper() + called[1:]


def _render_facets(choice: Choice, subject: Subject) -> None:
    """Several pictures for one neuron, in a row."""
    facets = facet_panels.pick_facets(subject)
    judge = facet_panels.pick_judge(subject)
    neuron = choice.neuron()
    called = str(neuron)
    if neuron.layer == LOGITS and neuron.channel is not None:
        called = f"class {subject.described.labels[neuron.channel]}"
    st.caption(f"Neuron: {literal(called)}, as chosen above.")
    if st.button("Draw the row", key="facets_run", disabled=len(facets) < 2):
        what = {"model": subject.spec, "pictures": [facet.source for facet in facets], "judge": judge}
        how = {"neuron": neuron.to_dict(), "render": choice.render(), "seeds": SEEDS, "trace": choice.trace_arguments()}
        remember("facets", jobs().submit("multifaceted", {**what, **how}), [facet.title for facet in facets])
    ticket, titles = remembered("facets")
    if ticket is None or not isinstance(titles, list):
        if EXAMPLE.is_file():
            st.image(
                str(EXAMPLE), caption=EXAMPLE_CAPTION, width=620, alt="Drawings of class neurons, for two pictures each"
            )
        return
    live = partial(facet_panels.show_facets, titles=titles)
    files = outcome(ticket, "facets", live=live, cancelled=CANCELLED)
    if files is not None:
        facet_panels.show_facet_results(files, titles)


frame("Neurons", _render)
