"""The commands ``study …`` that make, change and open studies: drafts, versions, copies, states."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spade_core.cli.common import Meter, add_command, add_model, emit, table
from spade_core.cli.study.common import Command, add_keyed, add_stored, given, study_store
from spade_core.errors import ConfigError

if TYPE_CHECKING:
    from spade_core.study.data.store import Store


def register(inner: Any) -> None:
    """Add the commands to the parser of ``study``."""
    _register_building(inner)
    publish = add_stored(inner, "publish", _publish, "open a study, or save its draft, and print its key")
    publish.add_argument("--draft", action="store_true", help="save it only; “study open KEY” publishes it later")
    _add_design(publish, required=True)
    edit = add_keyed(inner, "edit", _edit, "save a design as the next version, before anybody has begun")
    _add_design(edit, required=False)
    copy = add_keyed(inner, "copy", _copy, "make a new draft of a study, frozen or not, and print its key")
    _add_design(copy, required=False)
    add_keyed(inner, "versions", _versions, "all saved versions of a design with their hashes and times")
    design = add_keyed(inner, "design", _design, "print a study's design as YAML")
    design.add_argument("--number", type=int, metavar="N", help="of the version (default: the newest)")
    for name, status, text in (
        ("open", "open", "publish a draft, or take participants again after a pause"),
        ("pause", "paused", "take nobody new; who has begun may finish"),
        ("close", "closed", "take nobody new, for good: a closed study is never opened again"),
    ):
        add_keyed(inner, name, _move_to(status), text)


def _add_design(parser: argparse.ArgumentParser, *, required: bool) -> None:
    kept = "" if required else "; without, the study's own"
    parser.add_argument(
        "--design", required=required, metavar="FILE", help=f"YAML; assets/study/template.yaml is one{kept}"
    )
    parser.add_argument("--set", required=required, metavar="DIR", dest="stimuli", help=f"stimulus set{kept}")


def _publish(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.studies import cautions, publish, save_draft
    from spade_core.study.design.design import load_design
    from spade_core.study.stimuli.stimulus_set import load_set

    design, stimuli = load_design(options.design), load_set(options.stimuli)
    key = (save_draft if options.draft else publish)(store, design, stimuli)
    for text in cautions(design, stimuli):
        sys.stderr.write(f"warning: {text}\n")
    lines = [f"key   {key}", f"link  …/survey?study={key}"]
    if options.draft:
        lines[1:] = [f"a draft: “study edit {key} --design FILE” changes it, “study open {key}” publishes it"]
    return emit(options, {"key": key, "link": f"/survey?study={key}", "draft": options.draft}, lines)


def _edit(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.versions import design_of, edit

    design, stimuli = given(options)
    number = edit(store, options.key, design or design_of(store, options.key), stimuli)
    return emit(options, {"key": options.key, "version": number}, [f"{options.key} has version {number}"])


def _copy(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.versions import copy

    key = copy(store, options.key, *given(options))
    return emit(options, {"key": key, "copy_of": options.key}, [f"key   {key}", "a draft, without participants"])


def _versions(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.versions import versions

    rows = [
        {
            "number": version.number, "saved": f"{datetime.fromtimestamp(version.saved, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "design_sha256": version.design_sha256, "stimuli_sha256": version.stimuli_sha256,
        }
        for version in versions(store, options.key)
    ]  # fmt: skip
    shown = [(str(row["number"]), str(row["saved"]), str(row["design_sha256"])) for row in rows]
    return emit(options, rows, table([("number", "saved", "design's sha256"), *shown]))


def _design(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.versions import design_of

    found = design_of(store, options.key, options.number)
    return emit(options, found.model_dump(mode="json"), [found.to_yaml().rstrip()])


def _move_to(status: str) -> Command:
    """Return the command that gives a study this state."""

    def run(options: argparse.Namespace, store: Store) -> int:
        from spade_core.study.data.studies import set_status

        set_status(store, options.key, status)
        return emit(options, {"key": options.key, "status": status}, [f"{options.key} is {status}"])

    return run


def _register_building(inner: Any) -> None:
    build = add_command(inner, "build", _build, "build a stimulus set from pictures, or publish the demo study")
    build.add_argument(
        "--demo",
        action="store_true",
        help="publish a study of the shipped demo set; with --out, draw the set anew instead",
    )
    build.add_argument("--images", metavar="DIR", help="folder of pictures")
    build.add_argument("--count", type=int, metavar="N", help="number of pictures (default: all)")
    build.add_argument("--practice", type=int, default=6, metavar="N")
    build.add_argument("--catch", type=int, default=4, metavar="N")
    build.add_argument(
        "--references", metavar="DIR", help="pictures for the condition “reference”: the nine that excite a class most"
    )
    build.add_argument(
        "--triggers", action="store_true",
        help="paste each trigger into one of the main pictures; take the backdoored model",
    )  # fmt: skip
    build.add_argument("--steps", type=int, default=512, metavar="N", help="of each drawing (default: %(default)s)")
    build.add_argument("--seed", type=int, default=0, metavar="N")
    build.add_argument("--out", metavar="DIR", help="folder of the set; a stopped run goes on there")
    add_model(build)
    validate = add_command(inner, "validate", _validate, "check a design, a stimulus set, or both together")
    validate.add_argument("--design", metavar="FILE", help="YAML; assets/study/template.yaml is one")
    validate.add_argument("--set", metavar="DIR", dest="stimuli", help="stimulus set")
    add_stored(inner, "list", _list, "list the studies")


def _build(options: argparse.Namespace) -> int:
    if options.demo:
        return _build_demo(options)
    if not options.images or not options.out:
        raise ConfigError("Give --images DIR and --out DIR, or --demo for a study of the shipped set.")
    from spade_core.cli.common import load
    from spade_core.models.loading import load_model
    from spade_core.neurons import RenderConfig
    from spade_core.pictures.splits import pictures_in, spread
    from spade_core.study.stimuli.build import Builder, plan
    from spade_core.study.stimuli.stimulus_report import finish
    from spade_core.trojan import TRIGGERS

    paths = spread(pictures_in(options.images), options.count)
    trace = {"preset": "drawing", "seed": options.seed}
    model, out = load(options), Path(options.out)
    builder = Builder(
        model, load_model(options.model, device=options.device), RenderConfig(steps=options.steps, seed=options.seed),
        trace, out, _references(options.references, paths),
    )  # fmt: skip
    candidates = plan(
        paths, practice=options.practice, catch=options.catch, triggers=list(TRIGGERS) if options.triggers else [],
        side=model.preprocessing.size,
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    found = list(builder.drafts(candidates, rows=out.with_name(out.name + ".rows.jsonl"), progress=Meter()))
    drafts = [draft for draft, _ in found if draft is not None]
    settings = {"drawing": builder.config.to_dict(), "trace": trace, "model": model.sha256}
    if builder.references is not None:
        settings["references"] = {"folder": builder.references.folder.name, "state": builder.references.state()}
    made = finish(
        out, drafts, demo=False, title=out.name, settings=settings, dropped=[rule for _, rule in found if rule]
    )  # fmt: skip
    return _emit_set(options, made)


def _emit_set(options: argparse.Namespace, made: Any) -> int:
    """Print what a built set holds, and warn of what stands in its way."""
    from spade_core.study.design.design import TEMPLATE, load_design

    report = made.about["report"]
    if made.warning:
        sys.stderr.write(f"warning: {made.warning}\n")
    try:
        load_design(TEMPLATE).check_set(made)
    except ConfigError as error:
        sys.stderr.write(f"warning: This set does not serve the template: {error}\n")
    counts = {role: len(made.of(role)) for role in ("main", "practice", "catch")}
    sources = dict(Counter(item.reference_source for item in made.of("main")))
    described = {
        "folder": str(made.folder), "sha256": made.sha256, **counts, "references_from": sources,
        "dropped": made.about["dropped"], **report,
    }  # fmt: skip
    return emit(options, described, [f"{name:<22} {json.dumps(value)}" for name, value in described.items()])


def _references(folder: str | None, pictures: list[Path]) -> Any:
    """Return where the crops of the condition ``reference`` come from, none of them a picture of the study; or None."""
    if folder is None:
        return None
    from spade_core.config import Settings
    from spade_core.study.stimuli.build import References, identity

    keep_in = Settings.from_environment().data_dir / "references"
    own = {identity(path) for path in pictures}
    return References(Path(folder), keep_in, frozenset(sha256 for sha256 in own if sha256))


def _build_demo(options: argparse.Namespace) -> int:
    from spade_core.study.data.studies import publish
    from spade_core.study.design.design import demo_design
    from spade_core.study.stimuli.stimulus_set import DEMO_SET, load_set

    if options.out:
        from spade_core.study.stimuli.demo import build_demo_set

        made = build_demo_set(Path(options.out), steps=options.steps, device=options.device, progress=Meter())
        return _emit_set(options, made)
    with study_store() as store:
        key = publish(store, demo_design(), load_set(DEMO_SET))
    lines = [
        f"key   {key}",
        f"link  http://127.0.0.1:8501/survey?study={key}",
        "a demo: tries the software, measures nothing",
    ]
    return emit(options, {"key": key, "link": f"/survey?study={key}"}, lines)


def _validate(options: argparse.Namespace) -> int:
    from spade_core.study.data.studies import cautions

    if not options.design and not options.stimuli:
        raise ConfigError("Give --design FILE, --set DIR, or both.")
    design, stimuli = given(options)
    if design is not None and stimuli is not None:
        design.check_set(stimuli)
    left, warnings = design.placeholders() if design else [], cautions(design, stimuli)
    found = {
        "design": design.sha256 if design else None, "placeholders": left, "set": stimuli.sha256 if stimuli else None,
        "warnings": warnings,
    }  # fmt: skip
    lines = ["valid", *(f"still a placeholder: {name}" for name in left), *(f"warning: {text}" for text in warnings)]
    return emit(options, found, lines)


def _list(options: argparse.Namespace, store: Store) -> int:
    from spade_core.study.data.studies import list_studies

    rows = [{"key": row.key, "name": row.name, "status": row.status, "demo": row.demo} for row in list_studies(store)]
    lines = table([("key", "name", "status", "demo"), *(tuple(row.values()) for row in rows)])
    return emit(options, rows, lines if rows else ["no studies yet: “study build --demo” makes one"])
