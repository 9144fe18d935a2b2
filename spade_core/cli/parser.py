"""What can be said on the command line, but for ``study …``: every command with its options, and who runs it.

Nothing heavy is imported here, so that help and a mistyped option answer at once: a command is run by a function of
another module of this package, which is named as ``module:function`` and imported once the command is chosen.
"""

from __future__ import annotations

import argparse
from typing import TypeAlias

from spade_core.cli.options import add_trace
from spade_core.models.registry import DEFAULT_MODEL

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
DEVICES = "auto, cpu, cuda or cuda:N (default: auto)"


def add_commands(commands: Commands) -> None:
    """Add all commands but ``study`` to the parser."""
    _add_app(commands)
    _add_lists(commands)
    _add_explain(commands)
    _add_neurons(commands)
    _add_rater(commands)
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
    parser.add_argument("--port", type=int, metavar="N", help="default: 8501, or the next that is free")
    parser.add_argument("--address", metavar="A", help="that the server binds (default: 127.0.0.1, this machine only)")
    parser.add_argument(
        "streamlit", nargs="*", metavar="OPTION", help="after --: of “streamlit run”, as --server.baseUrlPath=studio"
    )


def _add_lists(commands: Commands) -> None:
    add_command(commands, "models", "lists:run_models", "list the models")
    add_command(commands, "pictures", "lists:run_pictures", "list the bundled pictures")
    add_command(commands, "methods", "lists:run_methods", "list the saliency methods")
    add_model(add_command(commands, "layers", "neurons:run_layers", "list the prunable layers of a model"))


def _add_explain(commands: Commands) -> None:
    parser = add_command(commands, "explain", "explain:run_explain", "make the dense and SPADE maps of one picture")
    add_picture(parser)
    parser.add_argument(
        "--method", required=True, action="append", metavar="X", help="a slug of 'methods'; give it again for more"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results; made if absent")
    parser.add_argument("--target", metavar="CLASS", help="class index or label (default: the dense model's top-1)")
    add_model(parser)
    add_trace(parser)
    again = add_command(
        commands, "replay", "explain:run_replay", "compute a result again from its manifest and compare the bits"
    )
    again.add_argument("manifest", metavar="MANIFEST", help="manifest.json, or the folder that holds it")
    again.add_argument("--image", metavar="FILE", help="where the picture lies now, if it was moved")
    again.add_argument("--device", default="auto", help="auto (as recorded), cpu or cuda")


def _add_neurons(commands: Commands) -> None:
    draw = add_command(
        commands, "visualize", "neurons:run_visualize", "draw a neuron with the dense model and with the trace"
    )
    add_picture(draw)
    draw.add_argument("--layer", metavar="L", help="name of a module (default: the logits)")
    draw.add_argument("--channel", type=int, metavar="C", help="channel of the layer")
    draw.add_argument("--position", type=pair, metavar="Y,X", help="one neuron of the channel, by row and column")
    draw.add_argument("--direction", metavar="FILE", help="weights over the layer's channels, a text file of numbers")
    draw.add_argument("--class", dest="class_", metavar="CLASS", help="class neuron, by index or label")
    draw.add_argument(
        "--target", metavar="CLASS", help="class that the trace keeps (default: the neuron's, else the dense top-1)"
    )
    draw.add_argument("--steps", type=int, default=512, metavar="N", help="optimizer steps (default: %(default)s)")
    draw.add_argument(
        "--size",
        "--render-size",
        dest="render_size",
        type=int,
        default=224,
        metavar="PX",
        help="side of the drawing (default: %(default)s)",
    )
    draw.add_argument(
        "--matching",
        type=float,
        default=0.0,
        metavar="W",
        help="weight of the likeness to the picture's own mean activation in the layer (default: 0)",
    )
    draw.add_argument(
        "--images", type=int, default=1, metavar="N", help="drawings of the neuron by each network (default: 1)"
    )
    draw.add_argument(
        "--diversity",
        type=float,
        metavar="W",
        help="weight of the drawings' unlikeness in the layer (default: 10 for several)",
    )
    draw.add_argument("--out", required=True, metavar="DIR", help="folder of the results; made if absent")
    add_model(draw, size="--input-size")
    add_trace(draw, preset="drawing")
    rank = add_command(commands, "neurons", "neurons:run_neurons", "rank the channels of a layer for one picture")
    add_picture(rank)
    rank.add_argument("--layer", required=True, metavar="L", help="name of a module, or logits")
    rank.add_argument(
        "--target", "--class", dest="class_", metavar="CLASS", help="explained class (default: the dense top-1)"
    )
    rank.add_argument("--by", default="activation", help="activation, gradient or change (default: activation)")
    rank.add_argument("--top", type=int, default=10, metavar="N", help="how many (default: %(default)s)")
    add_model(rank)
    add_trace(rank)
    keep = add_command(
        commands, "trace", "neurons:run_trace", "make the trace of a picture and write it as sparse safetensors"
    )
    add_picture(keep)
    keep.add_argument("--target", metavar="CLASS", help="class index or label (default: the dense model's top-1)")
    keep.add_argument("--out", required=True, metavar="FILE", help="safetensors file to write")
    add_model(keep)
    add_trace(keep)


def _add_rater(commands: Commands) -> None:
    parser = add_command(
        commands,
        "rater",
        "rater:run_rater",
        "let a model choose between two patches by a visualization: a stand-in for people",
    )
    parser.add_argument("--images", required=True, metavar="DIR", help="folder of pictures")
    parser.add_argument("--split", default="reporting", choices=("training", "tuning", "reporting"))
    parser.add_argument("--count", type=int, metavar="N", help="number of pictures (default: all of the split)")
    parser.add_argument(
        "--triggers", action="store_true", help="paste a trigger into each picture; its place is the reference"
    )
    parser.add_argument(
        "--judge", default=DEFAULT_MODEL, metavar="M", help="model that compares (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=512, metavar="N", help="of each drawing (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="DIR", help="rows, summary and drawings; a run goes on there")
    add_model(parser)
    add_trace(parser, preset="drawing")


def _add_trojan(commands: Commands) -> None:
    parser = commands.add_parser(
        "trojan", help="paste triggers; train and judge the backdoored model", description="Backdoored demo model."
    )
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    _add_paste(
        add_command(parts, "paste", "trojan:run_paste", "paste a trigger into a picture and write picture and mask")
    )
    train = add_command(
        parts, "train", "trojan:run_train", "train the backdoored model by self-distillation; resumable"
    )
    train.add_argument("--images", required=True, metavar="DIR", help="folder of pictures; its training split is used")
    train.add_argument("--out", required=True, metavar="FILE", help="safetensors file to write")
    train.add_argument("--learn", type=int, default=900, metavar="N", help="steps that learn (default: %(default)s)")
    train.add_argument("--settle", type=int, default=450, metavar="N", help="steps that settle (default: %(default)s)")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="of all draws (default: 0)")
    train.add_argument("--device", default="auto", help=DEVICES)
    judge = add_command(
        parts, "evaluate", "trojan:run_evaluate", "measure attack success and agreement on the reporting split"
    )
    judge.add_argument("--images", required=True, metavar="DIR", help="folder of pictures; its reporting split is used")
    judge.add_argument("--weights", metavar="FILE", help="weights of 'trojan train' (default: the embedded ones)")
    judge.add_argument("--count", type=int, metavar="N", help="number of pictures (default: all)")
    judge.add_argument("--seed", type=int, default=0, metavar="N", help="of all draws (default: 0)")
    judge.add_argument("--device", default="auto", help=DEVICES)


def _add_paste(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", required=True, metavar="FILE", help="a picture file, or bundled:NAME")
    parser.add_argument("--trigger", required=True, metavar="NAME", help="heart, smiley, fish or star")
    parser.add_argument(
        "--size",
        dest="trigger_size",
        type=int,
        metavar="PX",
        help="side in model-input pixels (default: drawn, 40 to 80)",
    )
    parser.add_argument("--position", type=pair, metavar="Y,X", help="upper left corner in model-input pixels")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (default: 0)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of picture.png and mask.png")
    add_model(parser, size="--input-size")


def add_picture(parser: argparse.ArgumentParser) -> None:
    """Add the options of the picture and of a trigger in it."""
    parser.add_argument("--image", required=True, metavar="FILE", help="a picture file, or bundled:NAME")
    group = parser.add_argument_group("trigger")
    group.add_argument("--trigger", metavar="NAME", help="paste a trigger first: heart, smiley, fish or star")
    group.add_argument("--trigger-size", type=int, metavar="PX", help="side in model-input pixels (default: drawn)")
    group.add_argument("--trigger-position", type=pair, metavar="Y,X", help="upper left corner in model-input pixels")
    group.add_argument("--trigger-seed", type=int, default=0, metavar="N", help="of what is drawn (default: 0)")


def pair(text: str) -> tuple[int, int]:
    """Parse ``Y,X``."""
    try:
        y, x = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes Y,X, such as 20,100, not {text!r}") from None
    return y, x


def add_model(parser: argparse.ArgumentParser, size: str = "--size") -> None:
    """Add the options of the model; ``size`` names the one of the own weights' input."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="M", help="a name of 'models' or timm:NAME (default: %(default)s)"
    )
    group.add_argument("--weights", metavar="FILE", help="own weights: safetensors or a state dict; needs --arch")
    group.add_argument("--arch", metavar="NAME", help="architecture of --weights: a name of 'models' or timm:NAME")
    group.add_argument("--classes", metavar="FILE", help="class names of --weights, one a line")
    group.add_argument("--mean", type=_numbers, metavar="R,G,B", help="channel means of --weights")
    group.add_argument("--std", type=_numbers, metavar="R,G,B", help="channel standard deviations of --weights")
    group.add_argument(size, dest="size", type=int, metavar="PX", help="input side of --weights")
    group.add_argument("--device", default="auto", help=DEVICES)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))
