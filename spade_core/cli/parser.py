"""What can be said on the command line, but for ``study …``: every command with its options, and who runs it.

Nothing heavy is imported here, so that help and a mistyped option answer at once: a command is run by a function of
another module of this package, which is named as ``module:function`` and imported once the command is chosen.
"""

from __future__ import annotations

import argparse
from typing import Any, TypeAlias

from spade_core.cli.options import add_bundle, add_trace
from spade_core.errors import ConfigError
from spade_core.evaluation.arms import ARMS
from spade_core.evaluation.benchmarks import BENCHMARKS
from spade_core.evaluation.processing import PROCESSING
from spade_core.models.registry import DEFAULT_MODEL, OUTPUTS
from spade_core.neurons import PARAMETRIZATIONS, STARTS
from spade_core.pictures.frame import CENTRE
from spade_core.pictures.frame import HELP as FRAME_HELP
from spade_core.pictures.size import Size, parse_size
from spade_core.pruning.kinds import any_of
from spade_core.tuning.objectives import OBJECTIVE, OBJECTIVES, RATIOS, SPLIT, SWEEPS

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
TARGET = "class index or label (default: the dense model's top-1)"


def pair(text: str) -> tuple[int, int]:
    """Parse ``Y,X``."""
    try:
        y, x = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes Y,X, such as 20,100, not {text!r}") from None
    return y, x


def size(text: str) -> Size:
    """Parse ``PX`` or ``HxW``."""
    try:
        return parse_size(text)
    except ConfigError:
        raise argparse.ArgumentTypeError(f"takes PX or HxW, such as 224 or 256x192, not {text!r}") from None


def slugs(text: str) -> tuple[str, ...]:
    """Parse ``A,B``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


COUNT: dict[str, Any] = {"type": int, "metavar": "N"}
SIDE: dict[str, Any] = {"type": int, "metavar": "PX"}
PLACE: dict[str, Any] = {"type": pair, "metavar": "Y,X"}
SLUGS: dict[str, Any] = {"type": slugs, "default": (), "metavar": "A,B"}
FOLDER: dict[str, Any] = {"required": True, "metavar": "DIR"}


def add_commands(commands: Commands) -> None:
    """Add all commands but ``study`` to the parser."""
    _add_app(commands)
    for name, what in (("models", "models"), ("pictures", "bundled pictures"), ("methods", "saliency methods")):
        add_command(commands, name, f"lists:run_{name}", f"list the {what}")
    layers = add_command(commands, "layers", "neurons:run_layers", "list the prunable layers of a model")
    advice = "list the layers most worth reading instead, for --layer and the option layer of CAM methods, and why"
    layers.add_argument("--advice", action="store_true", help=advice)
    add_model(layers)
    _add_explain(commands)
    _add_neurons(commands)
    _add_rater(commands)
    _add_benchmark(commands)
    _add_tune(commands)
    _add_trojan(commands)


def add_command(commands: Commands, name: str, run: str, text: str) -> argparse.ArgumentParser:
    """Add a command that ``run``, ``module:function`` of this package, runs, and that can print JSON."""
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.set_defaults(run=run)
    return parser


def _add_app(commands: Commands) -> None:
    text = "serve the pages, from any folder"
    parser = commands.add_parser("app", help=text, description=f"{text.capitalize()}, at http://127.0.0.1:8501.")
    parser.set_defaults(run="app:run_app")
    add = parser.add_argument
    add("--port", help="default: 8501, or the next that is free", **COUNT)
    add("--address", metavar="A", help="that the server binds (default: 127.0.0.1, this machine only)")
    add("streamlit", nargs="*", metavar="OPTION", help="after --: of “streamlit run”, as --server.baseUrlPath=studio")


def _add_explain(commands: Commands) -> None:
    text = "make the dense and SPADE maps of one picture, or of all pictures of a folder"
    parser = add_command(commands, "explain", "explain:run_explain", text)
    add_picture(parser, folder=True)
    method = "a slug of 'methods'; give it again for more"
    parser.add_argument("--method", required=True, action="append", metavar="X", help=method)
    _add_method_options(parser)
    parser.add_argument("--out", help="folder of the results; made if absent", **FOLDER)
    parser.add_argument("--target", metavar="CLASS", help=TARGET)
    report = (
        "write a report, too: report.html, report.pdf, and the figure as SVG and at 300 dpi; of a folder, pictures.pdf"
    )
    parser.add_argument("--report", action="store_true", help=report)
    add_model(parser)
    add_trace(parser)
    add_bundle(parser)
    text = "compute a result again from its manifest and compare the bits"
    again = add_command(commands, "replay", "explain:run_replay", text)
    again.add_argument("manifest", metavar="MANIFEST", help="manifest.json, or the folder that holds it")
    again.add_argument("--image", metavar="FILE", help="where the picture lies now, if it was moved")
    again.add_argument("--device", default="auto", help="auto (as recorded), cpu or cuda")


def _add_neurons(commands: Commands) -> None:
    text = "draw a neuron with the dense model and with the trace"
    draw = add_command(commands, "visualize", "neurons:run_visualize", text)
    add_picture(draw)
    add = draw.add_argument
    add("--layer", metavar="L", help="name of a module (default: the logits)")
    add("--channel", type=int, metavar="C", help="channel of the layer")
    add("--position", help="one neuron of the channel, by row and column", **PLACE)
    add("--direction", metavar="FILE", help="weights over the layer's channels, a text file of numbers")
    add("--class", dest="class_", metavar="CLASS", help="class neuron, by index or label")
    add("--target", metavar="CLASS", help="class that the trace keeps (default: the neuron's, else the dense top-1)")
    add("--steps", default=512, help="optimizer steps (default: %(default)s)", **COUNT)
    side = "long side of the drawing, which has the shape of the model's input (default: %(default)s)"
    add("--size", "--render-size", dest="render_size", default=224, help=side, **SIDE)
    add("--parametrization", default="fourier", help=f"{any_of(PARAMETRIZATIONS)} (default: %(default)s)")
    add("--start", default="noise", help=f"{any_of(STARTS)} (default: %(default)s)")
    likeness = "weight of the likeness to the picture's own mean activation in the layer (default: 0)"
    add("--matching", type=float, default=0.0, metavar="W", help=likeness)
    add("--images", default=1, help="drawings of the neuron by each network (default: 1)", **COUNT)
    unlikeness = "weight of the drawings' unlikeness in the layer (default: 10 for several)"
    add("--diversity", type=float, metavar="W", help=unlikeness)
    add("--out", help="folder of the results; made if absent", **FOLDER)
    add_model(draw, size_flag="--input-size")
    add_trace(draw, preset="drawing")
    rank = add_command(commands, "neurons", "neurons:run_neurons", "rank the channels of a layer for one picture")
    add_picture(rank)
    add = rank.add_argument
    add("--layer", required=True, metavar="L", help="name of a module, or logits")
    add("--target", "--class", dest="class_", metavar="CLASS", help="explained class (default: the dense top-1)")
    add("--by", default="activation", help="activation, gradient or change (default: activation)")
    add("--top", default=10, help="how many (default: %(default)s)", **COUNT)
    add_model(rank)
    add_trace(rank)
    text = "make the trace of a picture and write it as sparse safetensors"
    keep = add_command(commands, "trace", "neurons:run_trace", text)
    add_picture(keep)
    keep.add_argument("--target", metavar="CLASS", help=TARGET)
    keep.add_argument("--out", required=True, metavar="FILE", help="safetensors file to write")
    add_model(keep)
    add_trace(keep)


def _add_rater(commands: Commands) -> None:
    text = "let a model choose between two patches by a visualization: a stand-in for people"
    parser = add_command(commands, "rater", "rater:run_rater", text)
    add = parser.add_argument
    add("--images", help="folder of pictures", **FOLDER)
    add("--split", default="reporting", choices=("training", "tuning", "reporting"))
    add("--count", help="number of pictures (default: all of the split)", **COUNT)
    add("--triggers", action="store_true", help="paste a trigger into each picture; its place is the reference")
    add("--judge", default=DEFAULT_MODEL, metavar="M", help="model that compares (default: %(default)s)")
    add("--steps", default=512, help="of each drawing (default: %(default)s)", **COUNT)
    add("--out", help="rows, summary and drawings; a run goes on there", **FOLDER)
    add_model(parser)
    add_trace(parser, preset="drawing")


def _add_benchmark(commands: Commands) -> None:
    text = "measure the maps of arms and methods over a folder of pictures; resumable"
    parser = add_command(commands, "benchmark", "benchmark:run_benchmark", text)
    add = parser.add_argument
    what = "; ".join(f"{slug}: {one.help}" for slug, one in BENCHMARKS.items())
    add("benchmark", choices=tuple(BENCHMARKS), help=what)
    add("--images", help="folder of pictures", **FOLDER)
    add("--split", default="all", help="training, tuning or reporting, or all pictures of the folder (default: all)")
    add("--limit", help="at most how many pictures, spread over the split", **COUNT)
    add("--methods", help="slugs of 'methods', or all (default: the benchmark's)", **SLUGS)
    _add_method_options(parser)
    add("--arms", help=f"of {', '.join(ARMS)} (default: the benchmark's)", **SLUGS)
    add("--processing", help=f"of {', '.join(PROCESSING)} (default: raw)", **SLUGS | {"default": ("raw",)})
    made = any_of([slug for slug, arm in ARMS.items() if arm.folder])
    add("--reference", metavar="DIR", help=f"pictures that {made} is made of (default: the training split of --images)")
    add("--engine", default="local", help="local, or ray: on the machines of a cluster (default: local)")
    add("--address", metavar="A", help="of a Ray cluster (default: one on this machine)")
    add("--threads", default=2, help="of one picture; the bits of a result depend on it (default: 2)", **COUNT)
    add("--out", help="folder of records, tables and report; a run goes on there", **FOLDER)
    add_model(parser)
    parser.set_defaults(model=None)
    add_trace(parser)


def _add_tune(commands: Commands) -> None:
    text = "choose each method's ratios by what its maps gain over a folder of pictures; resumable"
    parser = add_command(commands, "tune", "tune:run_tune", text)
    add = parser.add_argument
    add("--images", help="folder of pictures", **FOLDER)
    add("--objective", default=OBJECTIVE, help=f"{any_of(OBJECTIVES)} (default: %(default)s)")
    method = "a slug of 'methods', or all; give it again for more (default: those of the objective's benchmark)"
    add("--method", action="append", default=[], metavar="X", help=method)
    _add_method_options(parser)
    add("--processing", default="raw", help=f"{any_of(PROCESSING)} (default: %(default)s)")
    tried = ",".join(f"{ratio:g}" for ratio in RATIOS)
    add("--ratios", type=_numbers, default=RATIOS, metavar="F,F", help=f"candidates of each stage (default: {tried})")
    begin = "a table that the search may begin at beside the preset's, as --table takes it; give it again for more"
    add("--begin", action="append", default=[], metavar="FILE", help=begin)
    sweeps = "over the stages, last to first, then back; 0: only whole tables are compared (default: %(default)s)"
    add("--sweeps", type=int, default=SWEEPS, metavar="N", help=sweeps)
    add("--split", default=SPLIT, help="tuning or training, or all pictures of the folder (default: %(default)s)")
    add("--limit", help="at most how many pictures, spread over the split", **COUNT)
    add("--threads", default=2, help="the bits of a result depend on them (default: %(default)s)", **COUNT)
    add("--out", required=True, metavar="TABLE", help="JSON file of the ratios; its looks are kept beside it")
    add_model(parser)
    parser.set_defaults(model=None)
    add_trace(parser)
    add_bundle(parser)


def _add_method_options(parser: argparse.ArgumentParser) -> None:
    text = "an option of a method, as integrated_gradients.steps=64 ('methods' lists them); give it again for more"
    parser.add_argument("--option", action="append", default=[], metavar="METHOD.NAME=VALUE", help=text)


def _add_trojan(commands: Commands) -> None:
    text = "paste triggers; train and judge the backdoored model"
    parser = commands.add_parser("trojan", help=text, description="Backdoored demo model.")
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    text = "paste a trigger into a picture and write picture and mask"
    paste = add_command(parts, "paste", "trojan:run_paste", text)
    add = paste.add_argument
    add("--image", required=True, metavar="FILE", help="a picture file, or bundled:NAME")
    add("--trigger", required=True, metavar="NAME", help="heart, smiley, fish or star")
    side = "side in model-input pixels (default: drawn, 40 to 80)"
    add("--size", dest="trigger_size", help=side, **SIDE)
    add("--position", help="upper left corner in model-input pixels", **PLACE)
    add("--seed", default=0, help="of what is drawn (default: 0)", **COUNT)
    add("--out", help="folder of picture.png and mask.png", **FOLDER)
    add_model(paste, size_flag="--input-size")
    text = "train the backdoored model by self-distillation; resumable"
    train = add_command(parts, "train", "trojan:run_train", text)
    train.add_argument("--images", help="folder of pictures; its training split is used", **FOLDER)
    train.add_argument("--out", required=True, metavar="FILE", help="safetensors file to write")
    train.add_argument("--learn", default=900, help="steps that learn (default: %(default)s)", **COUNT)
    train.add_argument("--settle", default=450, help="steps that settle (default: %(default)s)", **COUNT)
    text = "measure attack success and agreement on the reporting split"
    judge = add_command(parts, "evaluate", "trojan:run_evaluate", text)
    judge.add_argument("--images", help="folder of pictures; its reporting split is used", **FOLDER)
    judge.add_argument("--weights", metavar="FILE", help="weights of 'trojan train' (default: the embedded ones)")
    judge.add_argument("--count", help="number of pictures (default: all)", **COUNT)
    for part in (train, judge):
        part.add_argument("--seed", default=0, help="of all draws (default: 0)", **COUNT)
        _add_device(part)


def add_picture(parser: argparse.ArgumentParser, *, folder: bool = False) -> None:
    """Add the options of the picture and of a trigger in it; with ``folder`` also those of many pictures."""
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--image", metavar="FILE", help="a picture file, or bundled:NAME")
    if folder:
        many = "a folder or a zip of pictures: how faithful each trace is and what its maps gain; resumable"
        given.add_argument("--images", metavar="DIR", help=many)
        add = parser.add_argument_group("with --images").add_argument
        add("--limit", help="at most how many pictures, spread over the folder", **COUNT)
        add("--threads", default=2, help="the bits of a result depend on them (default: %(default)s)", **COUNT)
    parser.add_argument("--frame", default=str(CENTRE), help=f"{FRAME_HELP} (default: %(default)s)")
    add = parser.add_argument_group("trigger").add_argument
    add("--trigger", metavar="NAME", help="paste a trigger first: heart, smiley, fish or star")
    add("--trigger-size", help="side in model-input pixels (default: drawn)", **SIDE)
    add("--trigger-position", help="upper left corner in model-input pixels", **PLACE)
    add("--trigger-seed", default=0, help="of what is drawn (default: 0)", **COUNT)


def add_model(parser: argparse.ArgumentParser, size_flag: str = "--size") -> None:
    """Add the options of the model; ``size_flag`` names the one of the own weights' input."""
    group = parser.add_argument_group("model")
    model = "a name of 'models' or timm:NAME or hf-hub:OWNER/NAME (default: %(default)s)"
    group.add_argument("--model", default=DEFAULT_MODEL, metavar="M", help=model)
    group.add_argument(
        "--weights",
        metavar="PATH",
        help="own weights: safetensors or a state dict with --arch; a folder of timm or transformers; an ONNX file",
    )
    group.add_argument("--arch", metavar="NAME", help="architecture of --weights: a name of 'models' or timm:NAME")
    group.add_argument("--classes", metavar="FILE", help="class names of --weights, one a line")
    group.add_argument("--mean", type=_numbers, metavar="R,G,B", help="channel means of --weights")
    group.add_argument("--std", type=_numbers, metavar="R,G,B", help="channel standard deviations of --weights")
    sides = "input size of --weights: the side of a square, or height x width, as 256x192"
    group.add_argument(size_flag, dest="size", type=size, metavar="PX|HxW", help=sides)
    meaning = f"what the numbers of --weights mean: {any_of(OUTPUTS)} (default: told from them)"
    group.add_argument("--output", metavar="MEANING", help=meaning)
    _add_device(group)


def _add_device(place: argparse._ActionsContainer) -> None:
    place.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def _numbers(text: str) -> tuple[float, ...]:
    """Parse ``F,F``."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes numbers, such as 0.5,0.5,0.5, not {text!r}") from None
