"""Neuron visualizations: what excites a neuron, for the dense model and for the trace of a picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from spade_core.config import ASSETS
from spade_core.images import PICTURES, bundled, load_picture
from spade_core.jobs import Ticket
from spade_core.neurons.objectives import LOGITS, Neuron
from spade_core.neurons.ranking import RANKINGS
from spade_core.neurons.references import folder_state
from spade_core.ui import neuron_panels, panels, pickers
from spade_core.ui.following import follow, remember, remembered
from spade_core.ui.frame import frame, jobs, settings
from spade_core.ui.link import Choice
from spade_core.ui.subject import Subject, asked_by_link, paste_of, pick_subject, start_of, wait_for
from spade_core.visualization import VisualizeConfig

PAGE = "neurons"
STEPS = (64, 128, 256, 512, 1024, 2048)
SEEDS = 3
EXAMPLE = ASSETS / "home" / "facets.png"
EXAMPLE_CAPTION = (
    "An example: class neurons of EfficientNet-Lite0, drawn for two pictures each, in which its dense top-5 holds the "
    "class. Found by search (`python -m benchmarks.facets`), nothing selected; the pictures are not free to be shown."
)


def main() -> None:
    """Draw the page."""
    frame("Neurons", _render)


def _render() -> None:
    st.title("Neurons")
    start = start_of(PAGE)
    subject = pick_subject(start)
    if subject is None:
        return
    with st.sidebar, st.expander("Trace", icon=":material/tune:"):
        options = pickers.pick_trace(start, subject.described["stages"], subject.described["table"])
    base = Choice(
        model=subject.spec.get("name", "own"), picture=subject.source["name"], trigger=paste_of(subject.source)
    )
    choice = _pick_neuron(start, subject, replace(base, **options))
    one, several = st.tabs(["This picture", "Several pictures: facets of one neuron"])
    with one:
        run = st.button("Draw the neuron", type="primary", key="draw")
        if run or asked_by_link(PAGE):
            _submit(choice, subject)
        _render_result(subject)
    with several:
        _render_facets(choice, subject)


def _pick_neuron(start: Choice, subject: Subject, choice: Choice) -> Choice:
    """Draw the choice of layer, neuron and steps."""
    rows = panels.read_json(wait_for("layers", {"model": subject.spec}, "Looking at the layers …")["layers.json"])
    shapes = {row["name"]: row for row in reversed(rows)}
    names = list(shapes)
    wanted = names.index(start.layer) if start.layer in names else 0
    columns = st.columns([3, 3, 1.4])
    layer = columns[0].selectbox(
        "Layer", names, index=wanted, key="layer", help="Type to search; values are read before the activation.",
        format_func=lambda name: "{name} · {channels} x {rows} x {columns}".format(**shapes[name]),
    )  # fmt: skip
    with columns[1]:
        if layer == LOGITS:
            channel = _pick_class(start, subject)
        else:
            most = shapes[layer]["channels"] - 1
            given = min(start.channel or 0, most)
            channel = int(st.number_input(f"Channel (0 to {most})", 0, most, given, key="channel"))
    counts = sorted({*STEPS, start.steps})
    steps = columns[2].selectbox("Steps", counts, index=counts.index(start.steps), key="steps")
    choice = replace(choice, layer=layer, channel=channel, steps=steps)
    return replace(choice, channel=_pick_ranked(choice, subject)) if layer != LOGITS else choice


def _pick_class(start: Choice, subject: Subject) -> int:
    labels, probabilities = subject.described["labels"], subject.described["probabilities"]
    order = sorted(range(len(labels)), key=lambda index: -probabilities[index])
    wanted = order.index(start.channel) if start.layer == LOGITS and start.channel in order else 0
    return st.selectbox(
        "Class neuron", order, index=wanted, key="class_neuron",
        format_func=lambda index: f"{labels[index]} · {probabilities[index]:.1%}",
    )  # fmt: skip


def _pick_ranked(choice: Choice, subject: Subject) -> int:
    """Offer the channels that stand out for this picture; a click chooses one."""
    with st.expander("Which neuron? Channels that stand out for this picture", icon=":material/leaderboard:"):
        by = st.segmented_control(
            "Rank by", list(RANKINGS), default="activation", key="by", format_func=lambda slug: RANKINGS[slug].title
        )
        if by is None or not st.toggle("Rank the channels (makes the trace first)", key="rank"):
            return int(choice.channel or 0)
        st.caption(RANKINGS[by].help)
        payload = {
            "model": subject.spec, "picture": subject.source, "trace": {**choice.trace_options(), "seed": choice.seed},
            "layer": choice.layer, "by": by, "top": 10,
        }  # fmt: skip
        rows = panels.read_json(wait_for("ranking", payload, "Ranking the channels …")["ranking.json"])
        picked = st.pills(
            "Channels, highest first", [row["channel"] for row in rows], key=f"ranked_{choice.layer}_{by}",
            format_func=lambda channel: _scored(rows, channel),
        )  # fmt: skip
        return int(choice.channel or 0) if picked is None else int(picked)


def _scored(rows: list[dict[str, Any]], channel: int) -> str:
    score = next(row["score"] for row in rows if row["channel"] == channel)
    return f"{channel} ({score:.3g})"


def _submit(choice: Choice, subject: Subject) -> None:
    config = VisualizeConfig(
        Neuron(choice.layer or LOGITS, choice.channel), None, {"steps": choice.steps, "seed": choice.seed},
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
    described = panels.read_json(files["manifest.json"])
    st.subheader(described["neuron"]["label"])
    panels.show_fidelity(described["fidelity"], described["sparsity"], described["seconds"]["trace"])
    neuron_panels.show_pair(files, described)
    folder = settings().references or PICTURES
    payload = {
        "model": subject.spec, "layer": choice.layer, "channel": choice.channel, "folder": str(folder),
        "state": folder_state(folder),
    }  # fmt: skip
    neuron_panels.show_references(wait_for("references", payload, "Looking through the reference pictures …"))
    command = neuron_panels.neuron_command(choice, subject.spec, subject.source["name"])
    neuron_panels.show_downloads(files, command)


def _render_facets(choice: Choice, subject: Subject) -> None:
    """Several bundled pictures for one neuron, in a row."""
    pictures = bundled()
    names = st.multiselect(
        "Pictures", list(pictures), key="facet_pictures", max_selections=4,
        format_func=lambda name: pictures[name].title,
        help="Two to four pictures of things that the neuron answers to.",
    )  # fmt: skip
    st.caption(f"Neuron: {choice.layer}, channel {choice.channel}, as chosen above.")
    if st.button("Draw the row", key="facets_run", disabled=len(names) < 2):
        sources = [jobs().shelve(load_picture(f"bundled:{name}"), None) for name in names]
        payload = {
            "model": subject.spec, "pictures": sources,
            "neuron": Neuron(choice.layer or LOGITS, choice.channel).to_dict(),
            "render": {"steps": choice.steps, "seed": choice.seed}, "seeds": SEEDS,
            "trace": {**choice.trace_options(), "seed": choice.seed},
        }  # fmt: skip
        remember("facets", jobs().submit("multifaceted", payload), [pictures[name].title for name in names])
    ticket, titles = remembered("facets")
    if ticket is None or not isinstance(titles, list):
        if EXAMPLE.is_file():
            st.image(str(EXAMPLE), caption=EXAMPLE_CAPTION, width=620)
        return
    status = ticket.status()
    if not status.finished:
        follow(ticket, lambda partials: neuron_panels.show_facets(partials, titles), "facets")
    elif status.state == "done":
        files = ticket.result()
        neuron_panels.show_facets(files, titles)
        described = panels.read_json(files["facets.json"])
        st.markdown("**How far apart are they?** :gray[cosine distance in the model's own embedding]")
        figure = neuron_panels.distance_figure(described["between"], described["within"])
        st.plotly_chart(figure, width="stretch", key="distances")
    else:
        st.info(status.note, icon=":material/info:")


main()
