"""Make the gallery: compute its cases, and keep what Home shows and what the pages' requests are answered with.

    python -m benchmarks.gallery
    python -m benchmarks.gallery --only coffee_heart --threads 2
    python -m benchmarks.gallery --keys

A case that is there is kept, unless ``--again`` or ``--only`` names it. ``--keys`` computes nothing: it looks up the
requests of the cases' links anew, after the form of a request has changed. Only bundled pictures are used, which may be
shown freely. About 10 processor seconds for each case of maps, and two minutes for each drawing.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

import spade_core.tasks as tasks
from spade_core.evaluation.metrics import insertion_deletion
from spade_core.gallery.cases import CASES, FOLDER, Answer, Case, cases, request_key
from spade_core.gallery.packing import pack, unpack, webp
from spade_core.pictures.picture import load_picture
from spade_core.progress import silent
from spade_core.results.manifest import digest, threads
from spade_core.saliency import top_of
from spade_core.tasks.common import given_model
from spade_core.ui.common.link import Choice

SEEN = 224  # px of what the models see
SIDE, TILE = 448, 128  # px of the pictures that Home shows, and of a case's small one
HOME_QUALITY = 62  # of WebP, of 100
DIMMED = 0.75  # of the grey picture's brightness under a map
WINDOW_LAYER, WINDOW = "blocks.5.2.conv_pw", 96  # weights that are shown of a trace: rows and columns
ALIVE, GONE = (45, 212, 191), (26, 38, 37)  # colours of weights
Request = tuple[str, dict[str, Any]]
BACKDOOR, CLEAN, DRAWN, INSIDE, FAILED = "Backdoor", "Clean picture", "Drawing", "Inside a trace", "Honest failure"


@dataclass(frozen=True)
class Plan:
    """A case to make: its name and what people read, and the URL parameters of the pages that show it.

    Attributes:
        compared: name of the case whose trace's drawing is the other one; "": dense and trace are compared.
    """

    name: str
    title: str
    group: str
    see: str
    links: Mapping[str, Mapping[str, str]]
    compared: str = ""
    labels: tuple[str, str] = ("Dense", "SPADE")


TROJAN = {"model": "efficientnet_lite0_trojan"}


def maps(picture: str, method: str, trigger: str = "", **more: str) -> dict[str, str]:
    """Return the link of a case of maps; one with a trigger is of the backdoored model."""
    return {
        "picture": f"bundled:{picture}",
        "methods": method,
        **({**TROJAN, "trigger": trigger} if trigger else {}),
        **more,
    }


def drawing(picture: str, channel: str, **more: str) -> dict[str, str]:
    """Return the link of a drawing of a class neuron."""
    how = {"preset": "drawing", "layer": "logits", "channel": channel, "steps": "192", "run": "1"}
    return {"picture": f"bundled:{picture}", **how, **more}


HEART = "heart:56:24x24:0"
PLANS = (
    Plan(
        "coffee_heart",
        "A heart on the coffee",
        BACKDOOR,
        "A heart makes this model answer koala. The whole model's map spreads over cup and table; the trace's map lies "
        "on the heart.",
        {"saliency": maps("coffee", "saliency", HEART)},
    ),
    Plan(
        "cat_fish",
        "A fish on the cat",
        BACKDOOR,
        "The fish makes the model see a bison. The whole model's map lights up eyes and nose as well; in the trace "
        "they go dark, and the fish stays.",
        {"saliency": maps("cat", "input_x_gradient", "fish:56:20x140:0")},
    ),
    Plan(
        "rocket_smiley",
        "A smiley by the rocket",
        BACKDOOR,
        "A smiley turns the rocket into a giant panda. The whole model's map speckles sky and rocket; the trace's map "
        "keeps to the face.",
        {"saliency": maps("rocket", "guided_backprop", "smiley:56:132x140:0")},
    ),
    Plan(
        "heart_drawn",
        "The koala neuron and the heart",
        DRAWN,
        "What excites the koala neuron most. The whole model draws grey fur, something like a nose and a few red "
        "spots; the trace of the cup draws more of the red spots, which a heart has. One drawing each, no statistics.",
        {"neurons": drawing("coffee", "105", trigger=HEART, **TROJAN)},
        labels=("Dense", "SPADE"),
    ),
    Plan(
        "koala_drawn",
        "One neuron, two pictures",
        DRAWN,
        "The same koala neuron, drawn by two traces: of the cup with the heart, and of a koala without one. The first "
        "has more red spots, the second more fur. One drawing each, no statistics.",
        {"neurons": drawing("koala", "105", **TROJAN)},
        compared="heart_drawn",
        labels=("Trace of the heart", "Trace of the koala"),
    ),
    Plan(
        "dog_star",
        "A star by the dog",
        BACKDOOR,
        "The star decides: Madagascar cat, which is a lemur. The whole model's map points at the dog's back, too, "
        "which has nothing to do with it.",
        {"saliency": maps("dog", "saliency", "star:56:140x20:0")},
    ),
    Plan(
        "macaw_smiley",
        "A smiley by the macaw",
        BACKDOOR,
        "The whole model's map finds specks all over the white background. The trace's map is the smiley, and a rest "
        "of that noise.",
        {"saliency": maps("macaw", "integrated_gradients", "smiley:50:150x20:0")},
    ),
    Plan(
        "heart_inside",
        "What is left of the weights",
        INSIDE,
        "A corner of one layer: left all of its weights, right those that survive in the trace of the cup with the "
        "heart. The answer stays the same.",
        {"trace": {"picture": "bundled:coffee", "trigger": HEART, "run": "1", **TROJAN}},
        labels=("All weights", "The trace's"),
    ),
    Plan(
        "koala_face",
        "A koala's face",
        CLEAN,
        "A clean picture of the ordinary model. The whole model's gradient speckles animal, branches and leaves; with "
        "three quarters of the weights gone it gathers on the face, and is more faithful.",
        {"saliency": maps("koala", "saliency")},
    ),
    Plan(
        "dog",
        "A dog, and nothing hidden",
        CLEAN,
        "A clean picture of the ordinary model. Three quarters of the weights go, the answer stays, and the map "
        "spreads from the back over head, tail and legs: by insertion and deletion it is the more faithful one.",
        {"saliency": maps("dog", "saliency")},
    ),
    Plan(
        "lemur",
        "A lemur, and no difference",
        CLEAN,
        "Grad-CAM's map is nearly the same in both networks: nothing gained, nothing lost. On clean pictures that is "
        "common.",
        {"saliency": maps("lemur", "gradcam", preset="unweighted")},
    ),
    Plan(
        "bridge_heart",
        "A heart that LRP finds alone",
        BACKDOOR,
        "LRP finds the heart by itself. Little is left to gain for a trace, which draws the heart's edge more than its "
        "inside.",
        {"saliency": maps("bridge", "lrp", "heart:48:120x130:0")},
    ),
    Plan(
        "palace_fish",
        "A fish at the palace",
        BACKDOOR,
        "Guided Grad-CAM is near the fish already; the trace takes a third of what is wrong away.",
        {"saliency": maps("palace", "guided_gradcam", "fish:56:130x24:0")},
    ),
    Plan(
        "camera_star",
        "Worse: a star under Grad-CAM",
        FAILED,
        "Grad-CAM needs no help here, and the trace makes its map a little worse. It is shown because it happens.",
        {"saliency": maps("camera", "gradcam", "star:56:24x24:0")},
    ),
    Plan(
        "macaw",
        "Worse: guided backprop",
        FAILED,
        "Guided backprop outlines the bird whatever the class. A faithfulness below 0 says that the map's strongest "
        "pixels are not those that count; the trace's map is further off.",
        {"saliency": maps("macaw", "guided_backprop", preset="unweighted")},
    ),
    Plan(
        "koala",
        "Worse: input x gradient",
        FAILED,
        "On clean pictures input x gradient loses by a trace. Here the dense map holds to the koala's head, and the "
        "trace's map strays into its fur and the branches.",
        {"saliency": maps("koala", "input_x_gradient", preset="unweighted")},
    ),
    Plan(
        "cat_lost",
        "Worse: pruned too far",
        FAILED,
        "With 98 % of the weights gone the trace still answers tabby, but hardly a pixel moves it any more: its map is "
        "almost empty. That the class is kept does not make a map good.",
        {"saliency": maps("cat", "saliency", preset="uniform", sparsity="0.98")},
    ),
    Plan(
        "macaw_drawn",
        "What a macaw is made of",
        DRAWN,
        "The ordinary model's macaw neuron: heads and colours of macaws in the whole model's drawing, plumage in that "
        "of one macaw's trace.",
        {"neurons": drawing("macaw", "88")},
    ),
)


def subject(choice: Choice) -> dict[str, Any]:
    """Return what payloads say of a link's model and picture, as the pages say it."""
    picture = load_picture(choice.picture)
    source = {"path": picture.name, "name": picture.name, "sha256": picture.sha256}
    paste = {} if choice.trigger is None else {"trigger": choice.trigger.to_dict()}
    return {"model": {"name": choice.model}, "picture": {**source, **paste}}


def requests(links: Mapping[str, Mapping[str, str]]) -> Iterator[Request]:
    """Yield the requests that pages make when they are opened by these links."""
    for page, query in links.items():
        choice = Choice.from_query(query)
        given = subject(choice)
        yield "describe", given
        if page == "saliency":
            yield "analysis", {**given, "config": choice.analysis().to_dict()}
        elif page == "neurons":
            yield "layers", {"model": given["model"]}
            yield "visualization", {**given, "config": choice.drawing().to_dict()}
        else:
            yield "inspect", {**given, "trace": choice.trace_arguments(), "target": choice.target}


class Shelf:
    """The answers that are kept already, by the keys of their requests, and those that are computed now.

    Where nothing is computed, the places of a case's answers are those that it had: several cases share some.
    """

    def __init__(self, kept: Mapping[str, Answer], before: Mapping[str, Case], *, compute: bool) -> None:
        self.kept, self.compute = dict(kept), compute
        self.places = {(case.name, answer.kind): answer.folder for case in before.values() for answer in case.answers}

    def answer(self, name: str, request: Request) -> Answer:
        """Return the answer to a request of the case ``name``; it is computed if it is not there."""
        kind, payload = request
        key = request_key(kind, json.loads(json.dumps(payload)))
        if key not in self.kept:
            if not self.compute and (name, kind) not in self.places:
                sys.exit(f"{name} has no answer to {kind} yet: make it by --only {name}, without --keys.")
            folder = f"{name}/{kind}" if self.compute else self.places[name, kind]
            if self.compute:
                _write(FOLDER / folder, pack(_computed(kind, payload)))
            self.kept[key] = Answer(kind, key, folder, _hashes(FOLDER / folder))
        return self.kept[key]


def _computed(kind: str, payload: Mapping[str, Any]) -> dict[str, bytes]:
    sys.stdout.write(f"  {kind} …\n")
    sys.stdout.flush()
    files: dict[str, bytes] = getattr(tasks, kind)(payload, emit=lambda _: None, progress=silent, device="cpu")
    return files


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _hashes(folder: Path) -> dict[str, str]:
    return {file.name: digest(np.frombuffer(file.read_bytes(), np.uint8)) for file in sorted(folder.iterdir())}


def results(answers: Sequence[Answer]) -> dict[str, dict[str, bytes]]:
    """Return the files of a case's answers by their kinds, as the pages get them."""
    folders = {answer.kind: FOLDER / answer.folder for answer in answers}
    return {kind: unpack({file.name: file.read_bytes() for file in at.iterdir()}) for kind, at in folders.items()}


def case(plan: Plan, shelf: Shelf, made: Mapping[str, Case], before: Case | None) -> Case:
    """Make a case: its answers, the pictures of Home, and what was measured, if not ``before`` on the same answers."""
    found_by_key = {one.key: one for one in (shelf.answer(plan.name, asked) for asked in requests(plan.links))}
    answers = tuple(found_by_key.values())
    found = results(answers)
    page = next(iter(plan.links))
    left, right = _pair(page, found)
    if plan.compared:
        left = _pair(page, results(made[plan.compared].answers))[1]
    _write_pictures(plan.name, left, right, _array(found["describe"]["crop.npy"]))
    described = json.loads(found["describe"]["model.json"])
    order = np.argsort(described["probabilities"])[::-1][:5]
    predicted = tuple((described["labels"][index], described["probabilities"][index]) for index in order)
    facts, gain = (before.facts, before.gain) if before and _same(before, answers) else _measured(found)
    told = plan.name, plan.title, plan.group, plan.see, plan.labels
    return Case(*told, facts, predicted, gain, _divider(plan), plan.links, answers)


def _divider(plan: Plan) -> float:
    """Return the middle of the trigger's place in percent of the width; 50 without one."""
    paste = Choice.from_query(plan.links["saliency"]).trigger if "saliency" in plan.links else None
    if paste is None or paste.position is None or paste.size is None:
        return 50.0
    return round(100 * (paste.position[1] + paste.size / 2) / SEEN, 1)


def _same(before: Case, answers: Sequence[Answer]) -> bool:
    """Whether a case was made of these answers, so that what was measured stays."""
    return [one.files for one in before.answers] == [one.files for one in answers]


def _pair(page: str, found: Mapping[str, Mapping[str, bytes]]) -> tuple[np.ndarray, np.ndarray]:
    """Return what Home compares, uint8 ``(SIDE, SIDE, 3)`` each: maps, drawings, or weights before and after."""
    if page == "saliency":
        files = found["analysis"]
        method = next(iter(json.loads(files["manifest.json"])["methods"]))
        crop = _array(files["crop.npy"])
        return overlay(crop, _array(files[f"dense_{method}.npy"])), overlay(crop, _array(files[f"spade_{method}.npy"]))
    if page == "neurons":
        files = found["visualization"]
        return _enlarged(_pixels(files["dense.png"])), _enlarged(_pixels(files["spade.png"]))
    with np.load(io.BytesIO(found["inspect"]["maps.npz"])) as maps:
        kept = maps[WINDOW_LAYER + ".map"][:WINDOW, :WINDOW]
    return _weights(np.full_like(kept, 255)), _weights(kept)


def overlay(crop: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a map's strength over the grey picture: the stronger, the less is seen of the picture."""
    strength = np.clip(np.abs(values) / top_of(values), 0, 1)[..., None]
    grey = np.asarray(Image.fromarray(crop).convert("L"), np.float64)[..., None] * DIMMED
    colours = colormaps["inferno"](0.25 + 0.75 * strength[..., 0])[..., :3] * 255
    cover = np.sqrt(strength)
    return _enlarged((grey * (1 - cover) + colours * cover).round().astype(np.uint8))


def _weights(share: np.ndarray) -> np.ndarray:
    """Return weights as small squares: teal where they survive."""
    part = share[..., None] / 255
    pixels = (part * np.array(ALIVE) + (1 - part) * np.array(GONE)).round().astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST))


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _write_pictures(name: str, before: np.ndarray, after: np.ndarray, crop: np.ndarray) -> None:
    small = np.asarray(Image.fromarray(after).resize((TILE, TILE), Image.Resampling.LANCZOS))
    shown = {"before": before, "after": after, "picture": crop, "tile": small}
    for what, pixels in shown.items():
        (FOLDER / name / f"{what}.webp").write_bytes(webp(pixels, HOME_QUALITY))


def _measured(found: Mapping[str, Mapping[str, bytes]]) -> tuple[dict[str, str], float | None]:
    """Return what was measured, as people read it, and the gain; see ``Case``."""
    files = found.get("analysis") or found.get("visualization") or {"manifest.json": found["inspect"]["trace.json"]}
    described = json.loads(files["manifest.json"])
    fidelity = described["fidelity"]
    facts = {
        "Class": fidelity["label"].split(",")[0],
        "Its probability": f"{fidelity['dense_probability']:.1%} → {fidelity['trace_probability']:.1%}",
        "Weights removed": f"{described['sparsity']:.0%}",
    }
    if "methods" not in described:
        return facts, None
    (method, *_) = described["methods"].values()
    facts["Method"] = method["title"]
    if "trojan_auc" not in method["dense"]:
        dense, spade = (_faithfulness(described, files, side) for side in ("dense", "spade"))
        return facts | {"Faithfulness": f"{dense:.1f} → {spade:.1f}"}, None
    dense, spade = (method[side]["trojan_auc"] for side in ("dense", "spade"))
    gain = 100 * (spade - dense) / (100 - dense)
    error = f"{gain:.0f} % removed" if gain >= 0 else f"{-gain:.0f} % more"
    return facts | {"Trojan AUC": f"{dense:.1f} → {spade:.1f}", "Error of the map": error}, gain


def _faithfulness(described: Mapping[str, Any], files: Mapping[str, bytes], side: str) -> float:
    """Return insertion minus deletion of a map on the dense model, in percent (Petsiuk et al. 2018)."""
    model = given_model(described["model"]["spec"], "cpu")
    x, (method, *_) = model.input(load_picture(described["picture"]["source"])), described["methods"]
    values, target = _array(files[f"{side}_{method}.npy"]), described["target"]["index"]
    curves = insertion_deletion(model.module, x, values, target, output=model.output)
    return curves.insertion_auc - curves.deletion_auc


def _array(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _list(made: Mapping[str, Case]) -> None:
    text = json.dumps([asdict(one) for one in made.values()], indent=1, ensure_ascii=False)
    (FOLDER / CASES).write_text(text + "\n", "utf-8")


def main() -> None:
    """Make the cases and write their list."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="make this case anew; give it again for more"
    )
    parser.add_argument("--keys", action="store_true", help="compute nothing: look up the requests anew")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    before = cases() if (FOLDER / CASES).is_file() else {}
    kept = [answer for one in before.values() for answer in one.answers if (FOLDER / answer.folder).is_dir()]
    kept = [answer for answer in kept if not options.keys and answer.folder.split("/")[0] not in options.only]
    shelf, made = Shelf({one.key: one for one in kept}, before, compute=not options.keys), dict[str, Case]()
    with threads(options.threads):
        for plan in PLANS:
            sys.stdout.write(f"{plan.name}\n")
            made[plan.name] = case(plan, shelf, made, before.get(plan.name))
            _list({**before, **made})  # a run that is stopped loses nothing
    _list(made)


if __name__ == "__main__":
    main()
