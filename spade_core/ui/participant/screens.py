"""The screens of a participation: one for each phase, the end, and the deletion of one's data."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping

import streamlit as st

from spade_core.errors import ConfigError
from spade_core.study.admission.devices import Device, is_mobile
from spade_core.study.data.deletion import issue_withdrawal, withdraw, withdraw_now
from spade_core.study.data.store import Store
from spade_core.study.design.design import Design
from spade_core.study.running import flow
from spade_core.study.running.person import Person
from spade_core.study.running.phases import ends_at, is_over
from spade_core.study.running.standing import Standing, turn_page
from spade_core.study.vocabulary import COMPREHENSION, PHASES, STOPPED, TERMINAL, TIME_OVER
from spade_core.ui.common.frame import study_store
from spade_core.ui.common.text import literal
from spade_core.ui.participant.presence import READABLE, TOKEN, from_the_top, present, script_component
from spade_core.ui.participant.trials import TEXTS, render_trials, shows_component

KEPT_OF_A_FAILURE = (
    "all of it goes. Only where you had failed a check a coded fingerprint of your participant id stays, so that the "
    "same id cannot begin again; nobody can read the id from it."
)
DELETED, DONE = "Your data are deleted. You can close this page.", "done"
_UNUSED = "But only the answers of people who finish are part of the results."
RETURN_CODE = "Your return code. With it you can go on in another browser: `{}`"
WITHDRAWAL_CODE = "Your withdrawal code. With it you can delete your data later, at {}?withdraw=1: `{}`"
STOP, STOPPING = "stop", "stopping"  # the button; session state: whether it was pressed
LOOK_AT_THE_CLOCK = 10.0  # seconds between two looks at the time that is left


def render_survey() -> None:
    """Draw where the participant stands, or the deletion of data where the address asks for it."""
    store = study_store()
    if "withdraw" in st.query_params:
        with st.container(width=READABLE):
            if st.query_params["withdraw"] == DONE:
                st.success(DELETED, icon=":material/check:")
            else:
                _render_withdrawal(store)
        return
    at = present(store)
    if at is None:
        return
    who = at.who
    if who.row.is_preview:
        st.warning("Preview: nothing counts, and all of it is marked.", icon=":material/preview:")
    if who.study.row.demo:
        st.caption("Demo study: it tries the software and measures nothing.")
    if is_over(who.design, who.row, store.clock()):
        who = flow.run_out(store, who)
    if who.row.status in TERMINAL:
        with st.container(width=READABLE):
            _render_end(store, at, who)
        from_the_top(who.row.status)
        return
    trials = PHASES[who.row.phase].trials or at.said is not None  # feedback on the last of practice, whatever is next
    # The trial component draws its own, since it goes on without the page.
    if st.session_state.get(STOPPING) or not (trials and shows_component(at)):
        st.progress(at.progress, text=TEXTS.progress)
    ends = ends_at(who.design, who.row)
    if ends is not None:
        soon = min(LOOK_AT_THE_CLOCK, max(1.0, ends - store.clock()))
        st.fragment(_time_left, run_every=soon)(store, ends)
    if st.session_state.get(STOPPING):
        with st.container(width=READABLE):
            _render_stop(store, who)
        from_the_top(STOPPING)
        return
    if trials:
        render_trials(store, at)
    else:
        with st.container(width=READABLE):
            _SCREENS[who.row.phase](store, at)
    st.button("Stop", key=STOP, type="tertiary", icon=":material/logout:", on_click=_ask_to_stop, args=(True,))
    from_the_top(f"{who.row.phase} {at.page} {who.row.comprehension_tries}")


def _ask_to_stop(asked: bool) -> None:
    st.session_state[STOPPING] = asked


def _render_stop(store: Store, who: Person) -> None:
    """Let somebody end the study here, with or without their answers."""
    st.title("Do you want to stop?", anchor=False)
    agreed = who.row.consented is not None
    used = "They are part of the results." if who.design.analysis.incomplete == "include" else _UNUSED
    kept = f"**Keep my answers:** your answers so far stay in the study. {used}"
    gone = "**Delete my answers:** all that the study has recorded of you is deleted, for good."
    st.markdown(f"{kept}\n\n{gone}" if agreed else "You have not answered anything yet.")
    keep = st.button("Stop and keep my answers" if agreed else "Leave the study", key="stop_keep")
    remove = st.button("Stop and delete my answers", key="stop_delete") if agreed else False
    st.button("Back to the study", key="stop_back", type="primary", on_click=_ask_to_stop, args=(False,))
    try:
        if keep:
            flow.stop(store, who)
        elif remove:
            withdraw_now(store, who.row.uid)
            st.query_params.from_dict({"withdraw": DONE})
    except ConfigError as error:  # whoever came by an id alone deletes nothing, and can still go back
        st.error(str(error), icon=":material/error:")
        return
    if keep or remove:
        _ask_to_stop(False)
        st.rerun()


def _time_left(store: Store, ends: float) -> None:
    """Say how long the study still goes on, and leave its pages when the time is over."""
    left = ends - store.clock()
    if left <= 0:
        st.rerun()
    minutes = math.ceil(left / 60)
    words = f"About {minutes} minutes" if minutes > 1 else "Less than a minute"
    st.caption(f":material/timer: {words} left for this study.")


def _render_device(store: Store, at: Standing) -> None:
    who = at.who
    st.title(literal(who.design.name), anchor=False)
    said = "Welcome. First your browser tells what it is and how large its window; then you read more of the study."
    st.markdown(said)
    said = script_component("window")(key="window", on_size_change=lambda: None).get("size")
    size = Device.model_validate(said) if isinstance(said, Mapping) else None  # of the browser; None: not yet
    width = None if size is None or size.width is None else int(size.width)
    label = "Show the tasks as plain form controls (for screen readers; your times are then measured less exactly)"
    plain = st.checkbox(label, key="native")
    if size is not None and who.design.mobile == "excluded" and is_mobile(size):
        st.warning(
            "This study needs a computer: its pictures do not fit on a phone or tablet. Please open the link that you "
            "were given on a computer. If you cannot, you may close this page; nothing was recorded but this visit.",
            icon=":material/computer:",
        )
        if st.session_state.get("refused_device") != who.row.uid:
            st.session_state["refused_device"] = who.row.uid
            flow.check_device(store, who, width=width, device=size)
        return
    if width is not None and width < who.design.min_width and not plain:
        st.warning(
            f"Your window is {width} px wide; this study needs {who.design.min_width}. Please enlarge it, turn your "
            "device, or come back on a computer.",
            icon=":material/width:",
        )
        return
    waiting = width is None and not plain
    if waiting:
        st.caption("One moment: looking at your window …")
    if st.button("Continue", type="primary", key="device", disabled=waiting):
        flow.check_device(store, who, width=width, device=size or Device(), native=plain)
        st.rerun()


def _render_consent(store: Store, at: Standing) -> None:
    who = at.who
    design, now = who.design, who.study.row.design_sha256
    same = st.session_state.setdefault("consent_of", now) == now
    if not same:  # edited since it was drawn: this click was about another text
        st.session_state.update(consent_of=now, agreed=False)
        st.warning("This study was changed a moment ago: please read it once more.")
    st.title("Before you begin", anchor=False)
    st.markdown(design.texts.consent)
    facts = "\n".join(f"- **{name}:** {text}" for name, text in _facts(design).items() if text)
    st.markdown(facts)
    codes = [] if who.row.is_preview else _codes()
    if codes:
        st.markdown("\n".join(f"- {code}" for code in codes))
    copy = "\n\n".join([design.name, design.texts.consent, facts, *codes])
    label = "Save a copy of this page, with your codes" if codes else "Save a copy of this page"
    st.download_button(label, copy, "consent.txt", "text/plain", key="copy", on_click="ignore", icon=":material/print:")
    agreed = st.checkbox(f"{design.age} I have read this and want to take part.", key="agreed")
    if not agreed:
        st.caption("Tick the box to take part.")
    yes, no, _ = st.columns([1, 1, 1])
    given = yes.button("Take part", type="primary", disabled=not agreed, key="consent", width="stretch")
    declined = no.button("Do not take part", key="decline", width="stretch")
    if same and (given or declined):
        flow.consent(store, who, given=given, withdrawal=st.session_state.get("withdrawal"))
        st.rerun()


def _facts(design: Design) -> dict[str, str]:
    """Return what the consent page says of the study beside its text, by title; empty: the design says nothing."""
    limit = design.minutes_limit
    ends = "minutes from here on. Then the study ends, and your answers so far are kept."
    return {
        "Responsible": design.controller,
        "Questions": design.contact,
        "Ethics": design.ethics,
        "Time": "" if limit is None else f"{limit:g} {ends}",
        "Risks": design.risks,
        "Payment": design.payment,
        "Legal basis": design.legal_basis,
        "Who gets the data": design.recipients,
        "Data are kept": design.retention,
        "Your rights": design.rights,
        "If you have your data deleted": KEPT_OF_A_FAILURE,
    }


def _codes() -> list[str]:
    """Return the sentences with both codes; the withdrawal code counts once the consent is given."""
    code = st.session_state.setdefault("withdrawal", secrets.token_hex(16))
    here = (st.context.url or "").partition("?")[0]  # as the participant sees this server
    return [RETURN_CODE.format(st.query_params[TOKEN]), WITHDRAWAL_CODE.format(here, code)]


def _render_instructions(store: Store, at: Standing) -> None:
    who, page = at.who, at.page
    pages = who.design.texts.instructions
    st.caption(f"Instructions, page {page + 1} of {len(pages)}")
    st.markdown(pages[page])
    back, forward, _ = st.columns([1, 1, 1])
    # Buttons of this page alone: the second click of a double click turns no further page.
    if back.button("Back", disabled=page == 0, key=f"back_{page}", width="stretch"):
        turn_page(store, who, page - 1)
        st.rerun()
    if forward.button("Next", type="primary", key=f"next_{page}", width="stretch"):
        if page + 1 < len(pages):
            turn_page(store, who, page + 1)
        else:
            flow.finish_instructions(store, who)
        st.rerun()


def _render_comprehension(store: Store, at: Standing) -> None:
    who = at.who
    tries = who.row.comprehension_tries
    st.title("Questions about the task", anchor=False)
    if tries == 0:
        st.markdown(f"They make sure that the instructions were clear. You have {flow.COMPREHENSION_TRIES} attempts.")
    else:
        again = f"{_not_right(at)}\n\nPlease read this once more, then answer again. It is the last time."
        st.warning(again, icon=":material/replay:")
        st.markdown("\n\n".join(who.design.texts.instructions))
    with st.form(f"comprehension_{tries}"):
        answers = []
        for number, one in enumerate(who.design.texts.comprehension):
            options, key, words = range(len(one.options)), f"q{tries}_{number}", one.options.__getitem__
            answers.append(st.radio(one.question, options, index=None, key=key, format_func=words))
        sent = st.form_submit_button("Check", type="primary")
    if sent and None in answers:
        st.info("Please answer every question.")
    elif sent:
        flow.comprehend(store, who, tuple(answer for answer in answers if answer is not None))
        st.rerun()


def _render_debrief(store: Store, at: Standing) -> None:
    who = at.who
    st.title("Thank you: your answers are saved", anchor=False)
    st.markdown(who.design.texts.debrief)
    comment = st.text_area("Is there anything that you want to tell us? (optional)", max_chars=2000, key="comment")
    st.markdown("Press **Finish** to get your completion code.")
    if st.button("Finish", type="primary", key="finish"):
        flow.remark(store, who, comment)
        flow.finish_study(store, who)
        st.rerun()


def _not_right(at: Standing) -> str:
    """Return which answers to the questions about the task were wrong; old participations kept no note of it."""
    if not at.wrong:
        return "Not all of your answers were right."
    one = len(at.wrong) == 1
    asked = "\n".join(f"- {question}" for question in at.wrong)
    return f"Your {'answer to this question was' if one else 'answers to these questions were'} not right:\n\n{asked}"


def _render_end(store: Store, at: Standing, who: Person) -> None:
    st.title(_ENDS[who.row.status], anchor=False)
    st.progress(1.0, text="Everything is saved.")
    if why := _why_over(at, who):
        st.markdown(why)
    if who.row.status == TIME_OVER:
        st.markdown("The answers that you gave in time are kept. You need not do anything else.")
        st.markdown(who.design.texts.debrief)
    elif who.row.status == STOPPED:
        st.markdown("The answers that you gave are kept.")
        st.markdown(who.design.texts.debrief)
    if who.code is None:
        st.markdown(f"There is no completion code for stopping early. Questions: {who.design.contact}")
    else:
        _render_code(who.code, who.design.codes.return_url)
    if who.row.consented is not None:
        _render_token(store, who)


def _why_over(at: Standing, who: Person) -> str:
    """Return why somebody cannot go on, or nothing."""
    row = who.row
    if row.status == "failed":
        return "Some questions checked your attention, and your answers to them were not as asked."
    if row.status != "screened_out":
        return ""
    if row.cell is None:
        return "Enough people have taken part already."
    if row.phase == COMPREHENSION:
        return f"You had {flow.COMPREHENSION_TRIES} attempts at the questions about the task. {_not_right(at)}"
    return "Too few answers in the practice were right."


def _render_code(code: str, url: str) -> None:
    how = "Press the button: it takes the code back." if url else "Copy it to where you found this study, if asked to."
    st.markdown(f"Your completion code. {how}")
    st.code(code, language=None)
    if url:
        st.link_button("Return", url.replace("{code}", code), type="primary")


def _render_token(store: Store, who: Person) -> None:
    """Show the withdrawal code; whoever comes back later may have a new one, which voids the old one."""
    if "withdrawal" not in st.session_state and who.row.withdrawal_sha256 is None:
        st.session_state["withdrawal"] = issue_withdrawal(store, who.row.uid)
    if "withdrawal" in st.session_state:
        here = (st.context.url or "").partition("?")[0]
        st.markdown(
            f"Your withdrawal code. Keep it: only with it can you delete your data later, at {here}?withdraw=1."
        )
        st.code(st.session_state["withdrawal"], language=None)
        st.markdown("You are done: you can close this page.")
    elif st.button("Give me a new withdrawal code", key="new_withdrawal"):
        st.session_state["withdrawal"] = issue_withdrawal(store, who.row.uid, replace=True)
        st.rerun()


def _render_withdrawal(store: Store) -> None:
    """Delete a participation by its code; nobody is told whose it was."""
    st.title("Delete my data", anchor=False)
    place = st.empty()
    with place.container():
        st.markdown(
            "This deletes your answers, your participant id and all else that the study has recorded of you, for good. "
            "Nobody is told whose data they were. If you are paid for taking part, hand in your completion code first."
        )
        with st.form("withdrawal", border=False):
            token = st.text_input("Your withdrawal code", max_chars=64).strip()
            sent = st.form_submit_button("Delete all of it for good", type="primary")
        if sent and not token:
            st.error("Type the code that you were given with the consent.", icon=":material/error:")
        elif sent and not withdraw(store, token):
            unknown = "No data belong to this code. Check it; if it is right, they are deleted already."
            st.error(unknown, icon=":material/error:")
        elif sent:
            place.success(DELETED, icon=":material/check:")


_ENDS = {
    "complete": "All done, thank you",
    "declined": "Thank you for your time",
    "screened_out": "Thank you; you cannot go on in this study",
    "failed": "Thank you for your time",
    "time_over": "The time for this study is over, thank you",
    "stopped": "You have stopped, thank you",
}
_SCREENS: Mapping[str, Callable[[Store, Standing], None]] = {
    "device": _render_device,
    "consent": _render_consent,
    "instructions": _render_instructions,
    COMPREHENSION: _render_comprehension,
    "debrief": _render_debrief,
}
