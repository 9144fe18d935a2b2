"""Which architectures work with what: some sixty of timm and torchvision, small and with random weights.

Each goes through the one door, is traced, explained by every method (dense model and trace), drawn, and its trace is
saved and loaded again. A cell of the table is ``+`` where the promises hold, ``refused`` where a reason is
given, and ``wrong`` where neither is so; there must be none. Resumable: rows that are there are not made again::

    python -m benchmarks.architectures --out DIR
    python -m benchmarks.architectures --out DIR --write docs/models.md
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from torch import nn

from spade_core.errors import SpadeError
from spade_core.isolation import seeded
from spade_core.models.loaded import LoadedModel, Network, predict
from spade_core.models.loading import wrap_model
from spade_core.models.weight_calls import WeightCalls
from spade_core.models.weights import digest
from spade_core.neurons import LOGITS, Neuron
from spade_core.neurons.rendering import RenderConfig, render
from spade_core.pictures.picture import Picture, load_picture
from spade_core.pruning.spade import trace
from spade_core.pruning.trace import Trace
from spade_core.pruning.trace_file import load_trace, trace_bytes
from spade_core.saliency import METHODS
from spade_core.saliency.explanation import explain
from spade_core.saliency.method import ANOTHER

CLASSES, RATIO = 10, 0.5
LARGE = 4_000_000  # weights; of larger networks the last two layers alone are pruned, which takes seconds
FAST = ("torchvision:squeezenet1_1", "timm:vit_tiny_patch16_224", "timm:cait_xxs24_224")
"""Of which the tests make the rows again."""
STEPS = ("wrap", "trace", "drawing", "file")
BEGIN, END = "<!-- table of architectures -->", "<!-- end of the table -->"
FEW: Mapping[str, Mapping[str, float]] = {
    "smoothgrad": {"samples": 2},
    "noisegrad": {"samples": 2},
    "integrated_gradients": {"steps": 4, "most_steps": 8},
    "scorecam": {"channels": 4},
    "occlusion": {"window": 0.5, "stride": 0.5},
    "gradient_shap": {"samples": 2},
    "expected_gradients": {"samples": 4},
    "lime": {"samples": 16, "segments": 9},
}
"""Options with which a method takes few passes; the table is about whether it works, not how well."""


@dataclass(frozen=True)
class Architecture:
    """An architecture at a small size.

    Attributes:
        name: ``timm:NAME`` or ``torchvision:NAME``; size: side of its input, px.
        options: of its constructor, that make it smaller.
    """

    name: str
    size: int = 64
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """Make it with random weights, biases and running statistics."""
        library, _, name = self.name.partition(":")
        with seeded(0):
            if library == "timm":
                import timm

                module = timm.create_model(name, num_classes=CLASSES, **self.options)
            else:
                module = resolve_name(f"torchvision.models:{name}")(num_classes=CLASSES, **self.options)
            return _shaken(module.eval())


def _shaken(module: nn.Module) -> nn.Module:
    """Draw what initializations leave at zero or one, where wrong rules look right."""
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            last = name.rpartition(".")[2]
            if last in ("running_var", "gamma") or (last == "weight" and value.dim() == 1):
                value.mul_(0.8 + 0.4 * torch.rand_like(value))
            elif last in ("bias", "running_mean") or (value.is_floating_point() and not value.any()):
                value.add_(0.1 * torch.randn_like(value))
    return module


_SMALL_VIT = {"img_size": 64, "depth": 2}
_TORCHVISION_VIT = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 3, "hidden_dim": 96}
_TORCHVISION_VIT["mlp_dim"] = 192
_NARROW = {"channels": (16, 32, 48, 64)}
ARCHITECTURES = tuple(
    Architecture(*row)
    for row in (
        ("torchvision:densenet121", 64),
        ("torchvision:efficientnet_b0", 64),
        ("torchvision:googlenet", 64, {"aux_logits": False, "init_weights": False}),
        ("torchvision:mnasnet0_5", 64),
        ("torchvision:mobilenet_v2", 64),
        ("torchvision:mobilenet_v3_small", 64),
        ("torchvision:regnet_y_400mf", 64),
        ("torchvision:resnet18", 64),
        ("torchvision:shufflenet_v2_x0_5", 64),
        ("torchvision:squeezenet1_1", 64),
        ("torchvision:swin_t", 64),
        ("torchvision:VisionTransformer", 32, _TORCHVISION_VIT),
        ("timm:beit_base_patch16_224", 64, {**_SMALL_VIT, "embed_dim": 96, "num_heads": 3}),
        ("timm:cait_xxs24_224", 64, {**_SMALL_VIT, "embed_dim": 96, "num_heads": 4}),
        ("timm:coat_lite_tiny", 64, {"img_size": 64}),
        ("timm:coatnet_pico_rw_224", 64, {"img_size": 64}),
        ("timm:convit_tiny", 64, {"img_size": 64, "depth": 12}),
        ("timm:convmixer_768_32", 64),
        ("timm:convnext_atto", 64),
        ("timm:convnextv2_atto", 64),
        ("timm:crossvit_tiny_240", 240),
        ("timm:cspresnet50", 64),
        ("timm:davit_tiny", 64, {"embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4)}),
        ("timm:deit_tiny_distilled_patch16_224", 64, _SMALL_VIT),
        ("timm:dla34", 64),
        ("timm:dpn48b", 64),
        ("timm:edgenext_xx_small", 64),
        ("timm:efficientformer_l1", 224),
        ("timm:efficientnet_lite0", 64),
        ("timm:efficientvit_b0", 64),
        ("timm:eva02_tiny_patch14_224", 56, {"img_size": 56, "depth": 2}),
        ("timm:fastvit_t8", 64),
        ("timm:focalnet_tiny_srf", 64),
        ("timm:gcvit_xxtiny", 224),
        ("timm:ghostnet_100", 64),
        ("timm:gmlp_ti16_224", 64, {"img_size": 64}),
        ("timm:hardcorenas_a", 64),
        ("timm:hiera_tiny_224", 224, {"embed_dim": 24}),
        ("timm:hrnet_w18_small", 64),
        ("timm:inception_next_atto", 64),
        ("timm:lcnet_050", 64),
        ("timm:levit_128s", 224),
        ("timm:maxvit_rmlp_pico_rw_256", 64, {"img_size": 64}),
        ("timm:mixer_s32_224", 64, {"img_size": 64}),
        ("timm:mnasnet_small", 64),
        ("timm:mobilenetv3_small_050", 64),
        ("timm:mobilenetv4_conv_small_050", 64),
        ("timm:mobileone_s0", 64),
        ("timm:mobilevit_xxs", 64),
        ("timm:mobilevitv2_050", 64),
        ("timm:mvitv2_tiny", 64, {"img_size": 64}),
        ("timm:nf_resnet26", 64),
        ("timm:pit_ti_224", 64, {"img_size": 64}),
        ("timm:poolformer_s12", 64),
        ("timm:pvt_v2_b0", 64),
        ("timm:repvgg_a0", 64),
        ("timm:res2net50_26w_4s", 64),
        ("timm:resmlp_12_224", 64, {"img_size": 64}),
        ("timm:resnest14d", 64, {"channels": (16, 32, 48, 64)}),
        ("timm:resnet10t", 64, _NARROW),
        ("timm:resnetv2_18", 64, {"channels": (16, 32, 48, 64)}),
        ("timm:rexnetr_200", 64),
        ("timm:selecsls42", 64),
        ("timm:seresnet18", 64, _NARROW),
        ("timm:sequencer2d_s", 64, {"img_size": 64, "layers": (1, 1, 1, 1)}),
        ("timm:starnet_s1", 64),
        ("timm:swin_tiny_patch4_window7_224", 64, {"img_size": 64, "embed_dim": 24, "depths": (1, 1, 1, 1)}),
        ("timm:swinv2_cr_tiny_224", 64, {"img_size": 64, "embed_dim": 24, "depths": (1, 1, 1, 1)}),
        ("timm:tiny_vit_5m_224", 224),
        ("timm:tnt_s_patch16_224", 64, {"img_size": 64, "depth": 2}),
        ("timm:twins_pcpvt_small", 64, {"img_size": 64, "depths": (1, 1, 1, 1)}),
        ("timm:visformer_tiny", 64, {"img_size": 64}),
        ("timm:vit_tiny_patch16_224", 64, _SMALL_VIT),
        ("timm:vit_medium_patch16_gap_240", 64, {**_SMALL_VIT, "embed_dim": 96, "num_heads": 3}),
        ("timm:volo_d1_224", 224),
        ("timm:xcit_nano_12_p16_224", 64, {"img_size": 64}),
    )
)

_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
Row = dict[str, str]
"""By column: ``+``, ``refused: REASON`` or ``wrong: WHAT``."""


class WrongError(RuntimeError):
    """A promise that does not hold."""


def row_of(architecture: Architecture) -> Row:
    """Take one architecture through everything."""
    row: Row = {"architecture": architecture.name}
    found: list[LoadedModel] = []
    row["wrap"] = _cell(architecture.name, lambda: found.append(_wrap(architecture)))
    if not found:
        return row
    (model,), picture = found, load_picture("bundled:dog")
    before, traces = digest(model.module), list[Trace]()
    row["trace"] = _cell(model.name, lambda: traces.append(_trace(model, picture)))
    row["layers"] = _layers(model, picture)
    networks: list[Network] = [model, *traces]
    for slug in METHODS:
        row[slug] = _cell(model.name, partial(_explain_all, networks, picture, slug))
    row["drawing"] = _cell(model.name, lambda: _draw(networks, picture))
    row["file"] = _cell(model.name, lambda: _keep(traces[0], picture)) if traces else row["trace"]
    if digest(model.module) != before:
        row["trace"] = "wrong: the dense model was written"
    return row


def _cell(name: str, check: Callable[[], object]) -> str:
    try:
        check()
    except SpadeError as error:
        return f"refused: {_reason(str(error), name)}"
    except _ERRORS as error:
        return f"wrong: {type(error).__name__}: {error}"[:300]
    return "+"


def _reason(text: str, name: str) -> str:
    """Return a refusal without what differs from architecture to architecture."""
    told = text.replace(name, "the model").removesuffix(f" {ANOTHER}")
    return re.sub(r"in the model \S+ (?=calls|is called|works)", "in the model a layer ", told)


def _wrap(architecture: Architecture) -> LoadedModel:
    module = architecture.build()
    before = digest(module)
    model = wrap_model(module, size=architecture.size, name=architecture.name, device="cpu")
    _demand(digest(module) == before, "the module was written")
    return model


def _trace(model: LoadedModel, picture: Picture) -> Trace:
    large = sum(layer.numel for layer in model.layers) > LARGE
    how: dict[str, Any] = {"preset": "drawing"} if large else {"preset": "uniform", "sparsity": RATIO}
    made = trace(model, picture, target=0, views=2, **how)
    _demand(bool(np.isfinite(predict(made, picture)).all()), "its probabilities are not finite")
    pruned = [row for row in made.report.layers if row.status == "pruned"]
    _demand(bool(pruned), "no layer was pruned")
    _demand(all(row.realised >= 0.9 * row.requested for row in pruned), "layers have fewer zeros than asked")
    return made


def _layers(model: LoadedModel, picture: Picture) -> str:
    """Return how many of the weights are seen where they are used, and so can be pruned."""
    weights = {layer.parameter: model.module.get_parameter(layer.parameter) for layer in model.layers}
    seen: set[str] = set()
    with torch.no_grad(), WeightCalls(weights, lambda name, *_: seen.add(name)):
        model.module(model.input(picture))
    return f"{len(seen)} of {len(weights)}"


def _explain_all(networks: Sequence[Network], picture: Picture, slug: str) -> None:
    for network in networks:
        _explain(network, picture, slug)


def _explain(network: Network, picture: Picture, slug: str) -> None:
    options: dict[str, Any] = dict(FEW.get(slug, {}))
    found = explain(network, picture, method=slug, target=0, **options)
    side = network.dense.preprocessing.size
    _demand(found.map.shape == (side, side), f"its map is {found.map.shape}")
    _demand(bool(np.isfinite(found.map).all()), "its map is not finite")
    _demand(bool(found.map.any()) or bool(found.notes), "its map is empty, and no note says so")


def _draw(networks: Sequence[Network], picture: Picture) -> None:
    modules = {name: one.module for name, one in zip(("dense", "spade"), networks, strict=False)}
    config = RenderConfig(steps=2, size=32)
    found = render(networks[0].dense, modules, [Neuron(LOGITS, 0)], config, picture=picture)
    _demand(all(np.isfinite(one.values).all() for drawn in found.values() for one in drawn), "a drawing is not finite")


def _keep(made: Trace, picture: Picture) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.safetensors"
        file.write_bytes(trace_bytes(made))
        again = load_trace(file, model=made.model)
    _demand(np.array_equal(predict(again, picture), predict(made, picture)), "the loaded trace predicts otherwise")


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise WrongError(what)


def line_of(row: Row) -> str:
    """Return a row of the page's table: what works, what is refused and why, and what is wrong."""
    steps = [row.get(step, "") for step in STEPS]
    told = [
        f"{step}: {cell.partition(': ')[2]}" for step, cell in zip(STEPS, steps, strict=True) if _is(cell, "refused")
    ]
    reasons: dict[str, list[str]] = {}
    for slug, method in METHODS.items():
        if _is(row.get(slug, ""), "refused"):
            reason = row[slug].partition(": ")[2].removeprefix(f"{method.title} ").rstrip(".")
            reasons.setdefault(reason, []).append(method.title)
    told += [f"{', '.join(titles)}: {reason}" for reason, titles in reasons.items()]
    wrong = sum(_is(cell, "wrong") for cell in row.values())
    works = sum(row.get(slug) == "+" for slug in METHODS)
    marks = ["+" if cell == "+" else "wrong" if _is(cell, "wrong") else "refused" for cell in steps]
    cells = [
        row["architecture"],
        row.get("layers", ""),
        *marks,
        f"{works} of {len(METHODS)}",
        str(wrong),
        "; ".join(told),
    ]
    return f"| {' | '.join(cells)} |"


def _is(cell: str, kind: str) -> bool:
    return cell.startswith(f"{kind}:")


def write_page(page: Path, rows: Sequence[Row]) -> None:
    """Replace the table between the page's marks."""
    heads = ("Architecture", "Weights seen", *map(str.capitalize, STEPS), "Methods", "Wrong", "Refused, and why")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *map(line_of, rows)]
    text = page.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    page.write_text("\n".join([before + BEGIN, "", *lines, "", END]) + after, encoding="utf-8")


def main() -> None:
    """Make the rows that are not there yet, and the page if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="of a file for each row")
    parser.add_argument("--only", default="", metavar="TEXT", help="architectures whose name has this text")
    parser.add_argument("--write", type=Path, metavar="FILE", help="page whose table is to be replaced")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for architecture in ARCHITECTURES:
        file = options.out / f"{architecture.name.replace(':', '_')}.json"
        if options.only in architecture.name and not file.exists():
            start = time.process_time()
            row = row_of(architecture)
            file.write_text(json.dumps(row, indent=1), encoding="utf-8")
            wrong = {key: value for key, value in row.items() if value.startswith("wrong")}
            print(f"{architecture.name}: {time.process_time() - start:.0f} s {wrong or ''}", flush=True)

    files = [options.out / f"{one.name.replace(':', '_')}.json" for one in ARCHITECTURES]
    if options.write:
        write_page(options.write, [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()])


if __name__ == "__main__":
    main()
