"""Neuron visualizations: what excites a neuron, for the dense model and for the trace of a picture."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from spade_core.config import ASSETS
from spade_core.jobs.job import Ticket
from spade_core.neurons import LOGITS, Neuron
from spade_core.results.config import DIVERSITY, VisualizeConfig
from spade_core.ui.common import downloads, panels, pickers
from spade_core.ui.common.frame import frame, jobs
from spade_core.ui.common.jobs import follow, remember, remembered
from spade_core.ui.common.link import Choice
from spade_core.ui.common.subject import Subject, asked_by_link, paste_of, pick_subject, start_of
from spade_core.ui.neurons import facets as facet_panels
from spade_core.ui.neurons import panels as neuron_panels
from spade_core.ui.neurons.pickers import asked_by_ranking, pick_neuron
from spade_core.ui.neurons.references import render_references

PAGE = "neurons"
SEEDS = 3
EXAMPLE = ASSETS / "home" / "facets.jpg"
EXAMPLE_CAPTION = (
    "An example: class neurons of EfficientNet-Lite0, drawn for two pictures each, in which its dense top-5 holds the "
    "class. Found by search (`python -m benchmarks.facets`), nothing selected; the pictures are not free to be shown."
)


def main() -> None:
    """Draw the page."""
    frame("Neurons", _render)


def _render() -> None:
    st.title("Neurons")
    start = start_of(PAGE, preset="drawing")
    subject = pick_subject(start)
    if subject is None:
        return
    with st.sidebar, st.expander("Trace", icon=":material/tune:"):
        options = pickers.pick_trace(start, subject.described["stages"], subject.described["table"])
    base = Choice(
        model=subject.spec.get("name", "own"), picture=subject.source["name"], trigger=paste_of(subject.source)
    )
    choice = pick_neuron(PAGE, start, subject, replace(base, **options))
    one, several = st.tabs(["This picture", "Several pictures: facets of one neuron"])
    with one:
        run = st.button("Draw the neuron", type="primary", key="draw")
        if asked_by_ranking() or asked_by_link(PAGE) or run:
            _submit(choice, subject)
        _render_result(subject)
    with several:
        _render_facets(choice, subject)


def _submit(choice: Choice, subject: Subject) -> None:
    config = VisualizeConfig(
        _neuron(choice), choice.target, choice.images, _render_options(choice),
        {**choice.trace_options(), "seed": choice.seed},
    )  # fmt: skip
    payload = {"model": subject.spec, "picture": subject.source, "config": config.to_dict()}
    remember(PAGE, jobs().submit("visualization", payload), (choice, subject))
    if subject.linkable:
        st.query_params.from_dict(choice.to_query(methods=False))
    else:
        st.query_params.clear()


def _render_result(subject: Subject) -> None:
    ticket, asked = remembered(PAGE)
    if ticket is None or not isinstance(asked, tuple):
        st.info(
            "Choose a layer and a neuron, then press **Draw the neuron**; the predicted class is chosen. "
            "512 steps take about a minute on two processor cores, and the images form before your eyes.",
            icon=":material/touch_app:",
        )
        return
    choice, before = asked
    status = ticket.status()
    if not status.finished:
        follow(ticket, lambda partials: neuron_panels.show_forming(partials, choice.steps), PAGE)
    elif status.state == "done":
        if (before.spec, before.source) != (subject.spec, subject.source):
            st.info("These images are of your previous choice.", icon=":material/history:")
        _render_done(ticket, choice, before)
    elif status.state == "cancelled":
        st.info("Cancelled. Change what you like and draw again.", icon=":material/cancel:")
    else:
        st.error(status.note, icon=":material/error:")


def _render_done(ticket: Ticket, choice: Choice, subject: Subject) -> None:
    files = ticket.result()
    described = downloads.read_json(files["manifest.json"])
    st.subheader(described["neuron"]["label"])
    panels.show_fidelity(described["fidelity"], described["sparsity"], described["seconds"]["trace"])
    neuron_panels.show_pair(files, described)
    references = st.container()  # its scan may take a while, but what is ready shows at once
    neuron_panels.show_downloads(files, neuron_panels.neuron_command(choice, subject.spec, subject.source["name"]))
    with references:
        render_references(choice, subject)


def _render_facets(choice: Choice, subject: Subject) -> None:
    """Several pictures for one neuron, in a row."""
    facets = facet_panels.pick_facets(subject)
    judge = facet_panels.pick_judge(subject)
    st.caption(f"Neuron: {_called(choice, subject)}, as chosen above.")
    if st.button("Draw the row", key="facets_run", disabled=len(facets) < 2):
        payload = {
            "model": subject.spec, "pictures": [facet.source for facet in facets], "judge": judge,
            "neuron": _neuron(choice).to_dict(),
            "render": {"steps": choice.steps, "seed": choice.seed}, "seeds": SEEDS,
            "trace": {**choice.trace_options(), "seed": choice.seed},
        }  # fmt: skip
        remember("facets", jobs().submit("multifaceted", payload), [facet.title for facet in facets])
    ticket, titles = remembered("facets")
    if ticket is None or not isinstance(titles, list):
        if EXAMPLE.is_file():
            st.image(str(EXAMPLE), caption=EXAMPLE_CAPTION, width=620)
        return
    status = ticket.status()
    if not status.finished:
        follow(ticket, lambda partials: facet_panels.show_facets(partials, titles), "facets")
    elif status.state == "done":
        facet_panels.show_facet_results(ticket.result(), titles)
    else:
        st.info(status.note, icon=":material/info:")


def _render_options(choice: Choice) -> dict[str, float]:
    return {"steps": choice.steps, "seed": choice.seed, "diversity": DIVERSITY if choice.images > 1 else 0.0}


def _called(choice: Choice, subject: Subject) -> str:
    neuron = _neuron(choice)
    return f"class {subject.described['labels'][neuron.channel]}" if neuron.layer == LOGITS else str(neuron)


def _neuron(choice: Choice) -> Neuron:
    return Neuron(choice.layer or LOGITS, choice.channel, choice.position)


main()
