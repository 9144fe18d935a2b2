"""A bot on the survey page in headless Chromium, and what the browser holds during each trial, but for the pixels."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from playwright.sync_api import Page, sync_playwright

from benchmarks.serving import FLAGS
from spade_core.study.admission.devices import Device
from spade_core.study.data.store import Store
from spade_core.study.data.tables import Participant, Trial
from spade_core.study.running import flow, person
from spade_core.study.running.person import Person

OPEN_MS = 650  # an answer counts from 500 ms on
BOUNCE_MS = 350  # a second press within 250 ms is a double click
LONG = 120_000
PATIENCE = 300.0  # seconds until an answer has to be in the database
# What scripts, extensions and screen readers can read; of a picture's address, which is its pixels, the length. Begins
# at the component, since the document does not look into its root.
READ = """(trial) => {
    const names = (storage) => Object.keys(storage).sort();
    const pictures = [...trial.querySelectorAll("img")].map((image) => ({
        alt: image.alt, shown: [image.clientWidth, image.clientHeight],
        natural: [image.naturalWidth, image.naturalHeight], length: image.src.length,
    }));
    const copy = trial.cloneNode(true);
    copy.querySelectorAll("img").forEach((image) => image.removeAttribute("src"));
    return JSON.stringify({
        address: location.href, title: document.title, cookies: document.cookie.split("=")[0],
        session: names(sessionStorage), local: names(localStorage), pictures, page: copy.outerHTML,
    });
}"""
IDS = re.compile(r"\b[0-9a-f]{32}\b|(?<=:t)[0-9a-f]{32}|(?<=study=)\w+")
PLACES = re.compile(r'(?<= )(data-onset|value|x|y|width|height)=\\"[0-9.]+\\"')


def pages_of(chromium: str, url: str, store: Store, key: str, people: int) -> list[tuple[str, str]]:
    """Let bots take part in Chromium; return the condition and a canonical reading of every main trial."""
    found: list[tuple[str, str]] = []
    if people < 1:
        return found
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for number in range(people):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.set_default_timeout(LONG)
            found += _readings(page, url, store, ready(store, key, f"seen{number}"))
            page.context.close()
        browser.close()
    return found


def canonical(text: str) -> str:
    """Return a reading without ids, onset and places: these say which participant, trial and regions it is."""
    return PLACES.sub(r"\1", IDS.sub("#", text))


def ready(store: Store, key: str, external_id: str) -> tuple[Person, str]:
    """Bring a bot to the first practice trial without the browser; return the person and the page's query."""
    entry = person.enter(store, key, external_id=external_id, is_bot=True, policy="browser")
    who = person.person(store, key, entry.token)
    if who is None:
        raise RuntimeError("the token just given finds nobody")
    who = flow.consent(store, flow.check_device(store, who, width=1280, device=Device()), given=True)
    who = flow.finish_instructions(store, who)
    who = flow.comprehend(store, who, tuple(question.correct for question in who.design.texts.comprehension))
    return who, f"/survey?study={key}&r={entry.token}"


def to_trial(page: Page) -> None:
    """Wait for a trial's onset, past a break if there is one, until an answer counts."""
    trial, pause = page.locator(".trial[data-phase=open]"), page.get_by_role("button", name="Go on", exact=True)
    while True:
        trial.or_(pause).first.wait_for()
        if pause.count():
            pause.click()
            pause.wait_for(state="detached")
        page.wait_for_timeout(OPEN_MS)
        if trial.count() and not pause.count():  # a page that has just connected anew may still change
            return


def _readings(page: Page, url: str, store: Store, entered: tuple[Person, str]) -> Iterator[tuple[str, str]]:
    who, query = entered
    page.goto(url + query)
    while (trial := current(store, who)) is not None:
        to_trial(page)
        if trial.type == "main":
            yield trial.condition, canonical(page.locator(".trial").evaluate(READ))
        choice = trial.required or trial.reference_side
        page.get_by_role("button", name=re.compile("Region 1" if choice == "region_1" else "Region 2")).click()
        page.wait_for_timeout(BOUNCE_MS)
        page.get_by_role("button", name=re.compile("Fairly sure")).click()
        _wait_for_answer(store, trial.id)
        if trial.type == "practice":
            page.get_by_role("button", name="Continue").click()
        page.wait_for_timeout(600)


def current(store: Store, who: Person) -> Trial | None:
    """Return the trial that waits for an answer, by the database."""
    row = store.run(lambda session: session.get(Participant, who.row.uid))
    return None if row is None else flow.current_trial(store, Person(row, who.study))


def _wait_for_answer(store: Store, trial_id: str) -> None:
    end = time.monotonic() + PATIENCE
    while not answered(store, trial_id):
        if time.monotonic() > end:
            raise RuntimeError(f"an answer did not arrive within {PATIENCE:.0f} s")
        time.sleep(0.02)


def answered(store: Store, trial_id: str) -> bool:
    """Return whether the database holds an answer."""
    found = store.run(lambda session: session.get(Trial, trial_id))
    return found is not None and found.answered is not None
