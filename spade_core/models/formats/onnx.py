"""Classifiers in ONNX's format, converted by onnx2torch and compared with what ONNX itself computes.

A file names its own operators; those that the converter does not know, or that compute something else once converted,
are refused by name. Nothing in such a file is code, and tensors kept beside it are read from its own folder only.
"""

from __future__ import annotations

import logging
import operator
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, fx, nn

from spade_core.errors import ModelError
from spade_core.models.reference import draw_pictures, gap
from spade_core.pictures.size import Size, as_size, shown_size

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

logger = logging.getLogger(__name__)

NEEDED = ("onnx", "onnx2torch")
_ERRORS: tuple[type[Exception], ...] = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError)
_ERRORS += (RuntimeError, TypeError, ValueError)
_EQUAL = 1e-4  # of the largest answer: by which a converted network may differ
_MOST_SIDE = 1024
_RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
Run = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class Converted:
    """A network made from an ONNX file.

    Attributes:
        size: of its input; None: any will do.
        classes: numbers that it answers with.
    """

    module: nn.Module
    size: Size | None
    classes: int


def read_onnx(path: Path, size: Size | None = None) -> Converted:
    """Convert a file.

    Args:
        size: at which it is compared where it takes any.

    Raises:
        ModelError: a package is missing, the file is unreadable, it is no classifier of pictures, or an operator does
            not convert with equal outputs; one sentence says which.
    """
    lacking = [name for name in NEEDED if find_spec(name) is None]
    if lacking:
        raise ModelError(
            f"{path.name} is an ONNX file, which needs {' and '.join(lacking)}, install them with: pip install -r "
            "requirements-models.txt, or spade-studio[models]."
        )
    model = _parsed(path)
    fixed = _input_size(model, path.name)
    run = _evaluator(model, path.name)
    module = _converted(model, path.name)
    _with_linear_layers(module)
    _rename(module)
    answers = _compare(module, run, fixed or size or 224, path.name)
    return Converted(module.eval(), fixed, answers.shape[-1])


def _parsed(path: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import load_external_data_for_model

    try:
        model = onnx.load(str(path), load_external_data=False)
        for tensor in model.graph.initializer:
            _check_place(tensor, path.name)
        load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except (DecodeError, OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        if isinstance(error, ModelError):
            raise
        logger.info("onnx refused %s: %s", path, error)
        raise ModelError(f"{path.name} is no readable ONNX file: export or copy it again, with its data.") from None
    return model


def _check_place(tensor: TensorProto, name: str) -> None:
    """Refuse tensors that lie elsewhere than beside the file."""
    for entry in tensor.external_data:
        if entry.key == "location" and (Path(entry.value).name != entry.value or entry.value in ("", "..")):
            raise ModelError(f"{name} keeps weights in another folder ({entry.value[:60]}): save them in one file.")


def _input_size(model: ModelProto, name: str) -> Size | None:
    """Return the size of the pictures that the graph reads; None: any."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in constants]
    if len(inputs) != 1:
        raise ModelError(f"{name} has {len(inputs)} inputs: give a network of one, pictures (n, 3, height, width).")
    kind = inputs[0].type.tensor_type
    sides = [dim.dim_value for dim in kind.shape.dim]  # 0 where it is left open
    told = " x ".join(str(side or "any") for side in sides)
    if len(sides) != 4 or sides[1] not in (0, 3) or bool(sides[2]) != bool(sides[3]) or max(sides[2:]) > _MOST_SIDE:
        raise ModelError(f"{name} reads {told} numbers: give a network of pictures, (n, 3, height, width).")
    if kind.elem_type != 1:  # float32
        raise ModelError(f"{name} does not read float32 numbers: export it in float32.")
    return as_size(sides[2:]) if sides[2] else None


def _evaluator(model: ModelProto, name: str) -> Run:
    """Return what computes the graph as it is: ONNX's own evaluator, which is slow, and plain Python."""
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(model.SerializeToString())  # the graph is rewritten later
    except _ERRORS as error:
        logger.info("ONNX does not run %s: %s", name, error)
        raise ModelError(f"ONNX itself does not run {name}{_operator(str(error))}: export it again.") from None
    key = evaluator.input_names[0]
    return lambda x: [torch.from_numpy(np.array(one)) for one in evaluator.run(None, {key: x.numpy()})]


def _operator(text: str) -> str:
    """Return the operator that an error's text names, in brackets."""
    found = re.search(
        r"operation_type='(\w+)'|(?:op|operator)[ :'\"]+(\w+)|No Op registered for (\w+)", text, re.IGNORECASE
    )
    return f" (operator {next(filter(None, found.groups()))})" if found else ""


def _prepare(graph: GraphProto) -> None:
    """Rewrite what the converter stumbles over, in place: computed constants, and a batch of one picture."""
    from onnx import helper

    _fold(graph)
    constants = {tensor.name for tensor in graph.initializer}
    first = next(one for one in graph.input if one.name not in constants)
    if first.type.tensor_type.shape.dim[0].dim_value:
        _free_batch(graph)
        first.type.tensor_type.shape.dim[0].dim_param = "n"
    del graph.value_info[:]  # shapes, which may hold the old batch
    for one in graph.output:
        one.CopyFrom(helper.make_tensor_value_info(one.name, one.type.tensor_type.elem_type, None))


def _fold(graph: GraphProto) -> None:
    """Compute what depends on constants alone, as exporters leave shapes and weights that are equal to others."""
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    outputs = {one.name for one in graph.output}
    for node in list(graph.node):
        inner = any(attribute.HasField("g") for attribute in node.attribute) or node.op_type in _RANDOM
        if (
            inner
            or node.domain
            or outputs.intersection(node.output)
            or not all(name in known for name in node.input if name)
        ):
            continue
        values = ReferenceEvaluator(node).run(None, {name: known[name] for name in node.input if name})
        for name, value in zip(node.output, values, strict=True):
            known[name] = np.asarray(value)
            graph.initializer.append(numpy_helper.from_array(known[name], name))
        graph.node.remove(node)


def _free_batch(graph: GraphProto) -> None:
    """Let there be any number of pictures where the graph says one; the comparison tells if that holds."""
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for tensor in graph.initializer:
        values = arrays[tensor.name]
        if tensor.name in shapes and values.size and values[0] == 1:  # 0: as many as come in
            tensor.CopyFrom(numpy_helper.from_array(np.concatenate([[0], values[1:]]).astype(np.int64), tensor.name))
    for node in [one for one in graph.node if one.op_type == "Concat" and one.attribute[0].i != 0]:
        tokens = [name for name in node.input if name in arrays and arrays[name].ndim > 1 and len(arrays[name]) == 1]
        others = [name for name in node.input if name not in arrays]
        for name in tokens if others else ():
            _repeat(graph, node, name, others[0], arrays[name].ndim)


def _repeat(graph: GraphProto, node: NodeProto, token: str, like: str, sides: int) -> None:
    """Give ``node`` a constant, as a class token, once for each picture of ``like``."""
    from onnx import helper, numpy_helper

    base = f"{node.output[0]}_{token}"
    constants = {"start": [0], "stop": [1], "rest": [1] * (sides - 1)}
    for key, values in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f"{base}_{key}"))
    added = [
        helper.make_node("Shape", [like], [f"{base}_shape"], f"{base}_shape"),
        helper.make_node("Slice", [f"{base}_{key}" for key in ("shape", "start", "stop")], [f"{base}_n"], f"{base}_n"),
        helper.make_node("Concat", [f"{base}_n", f"{base}_rest"], [f"{base}_to"], f"{base}_to", axis=0),
        helper.make_node("Expand", [token, f"{base}_to"], [f"{base}_all"], f"{base}_all"),
    ]
    place = list(graph.node).index(node)
    for offset, one in enumerate(added):
        graph.node.insert(place + offset, one)
    node = graph.node[place + len(added)]
    node.input[:] = [f"{base}_all" if name == token else name for name in node.input]


def _converted(model: ModelProto, name: str) -> fx.GraphModule:
    import onnx2torch

    try:
        _prepare(model.graph)
        return onnx2torch.convert(model)
    except _ERRORS as error:
        logger.info("onnx2torch refused %s: %s", name, error)
        found = _operator(str(error)) or f" ({', '.join(_unknown(model)) or str(error)[:80]})"
    raise ModelError(f"{name} does not convert{found}: export the network without it, or give its Python module.")


def _unknown(model: ModelProto) -> list[str]:
    """Return the operators for which there is no converter."""
    from onnx2torch.node_converters import get_converter

    versions = {one.domain: one.version for one in model.opset_import}
    found: dict[str, None] = {}
    for node in model.graph.node:
        try:
            get_converter(node.op_type, versions.get(node.domain, 1), node.domain)
        except NotImplementedError:
            found[node.op_type] = None
    return list(found)


def _with_linear_layers(module: fx.GraphModule) -> None:
    """Make a linear layer of every product with a constant matrix, and of the sum behind it, in place."""
    for node in list(module.graph.nodes):
        weight = _constant(module, node, 1) if _kind(module, node) == "OnnxMatMul" else None
        if weight is None or weight.dim() != 2:
            continue
        after = next(iter(node.users))
        bias = next(filter(None.__ne__, (_constant(module, after, place) for place in (0, 1))), None)
        summed = len(node.users) == 1 and _is_sum(module, after) and bias is not None and bias.shape == weight.shape[1:]
        layer = nn.Linear(weight.shape[0], weight.shape[1], bias=summed)
        layer.weight = nn.Parameter(weight.T.contiguous(), requires_grad=False)
        if summed and bias is not None:
            layer.bias = nn.Parameter(bias.clone(), requires_grad=False)
            after.replace_all_uses_with(node)
            module.graph.erase_node(after)
        module.add_submodule(str(node.target), layer)
        node.args = node.args[:1]


def _kind(module: fx.GraphModule, node: fx.Node) -> str:
    return type(module.get_submodule(str(node.target))).__name__ if node.op == "call_module" else ""


def _is_sum(module: fx.GraphModule, node: fx.Node) -> bool:
    step = module.get_submodule(str(node.target)) if node.op == "call_module" else None
    return getattr(step, "math_op_function", None) is torch.add


def _constant(module: fx.GraphModule, node: fx.Node, place: int) -> Tensor | None:
    """Return the constant that a step reads as its ``place``-th input, or None."""
    given = node.args[place] if len(node.args) > place else None
    if not isinstance(given, fx.Node) or given.op != "get_attr":
        return None
    return operator.attrgetter(str(given.target))(module)


def _rename(module: fx.GraphModule) -> None:
    """Call every step as the exported network did: ``blocks.0.attn.qkv`` for ``blocks/blocks/0/attn/qkv/MatMul``.

    The operator is left out where a step with weights is alone in its scope.
    """
    steps = {
        str(node.target): module.get_submodule(str(node.target))
        for node in module.graph.nodes
        if node.op == "call_module"
    }
    paths = {name: _path(name) for name in steps}
    around = Counter(path[:end] for path in paths.values() for end in range(len(path)))
    names: dict[str, str] = {}
    for name, step in steps.items():
        path = paths[name]
        alone = len(path) > 1 and around[path[:-1]] == 1 and next(step.parameters(), None) is not None
        names[name] = ".".join(path[:-1] if alone else path)
    if len({*names.values()}) < len(names):  # two steps of one name: they keep their own
        return
    for node in module.graph.nodes:
        if node.op == "call_module":
            name = names[str(node.target)]
            module.add_submodule(name, steps[str(node.target)])
            node.target = name
    module.delete_all_unused_submodules()
    module.recompile()


def _path(name: str) -> tuple[str, ...]:
    """Return the scopes of a name, without what each repeats of those around it, and its operator."""
    parts = [part for part in name.split("/") if part]
    found: list[str] = []
    while parts:
        again = next((n for n in range(len(found), 0, -1) if found[-n:] == parts[:n] and not parts[0].isdigit()), 0)
        found += [] if again else parts[:1]
        parts = parts[again or 1 :]
    return tuple(found)


def _compare(module: nn.Module, run: Run, size: Size, name: str) -> Tensor:
    """Return the answers; refuse a converted network that answers otherwise than ONNX, be pictures alone or not."""
    pictures = draw_pictures(size)
    try:
        wanted = [torch.cat(parts) for parts in zip(*(run(one) for one in pictures.split(1)), strict=True)]
        with torch.no_grad():
            single = _answers(module.eval()(pictures[:1]))
            found = _answers(module(pictures))
    except _ERRORS as error:
        logger.info("%s does not run: %s", name, error)
        raise ModelError(
            f"{name} does not take several pictures of {shown_size(size)} px at once once it is converted: "
            "export it with a dynamic batch axis, or give --size."
        ) from None
    pairs = [*zip(single, (one[:1] for one in wanted), strict=False), *zip(found, wanted, strict=False)]
    worst = max((gap(ours, theirs) for ours, theirs in pairs), default=float("inf"))
    if not worst <= _EQUAL or len(found) != len(wanted):
        raise ModelError(
            f"Converted, {name} answers otherwise than ONNX (by {worst:.2g} of the largest){_suspects(module)}: "
            "export it with a dynamic batch axis and another opset, or give its Python module."
        )
    return found[0]


def _answers(output: object) -> list[Tensor]:
    return [one for one in (output if isinstance(output, list | tuple) else [output]) if isinstance(one, Tensor)]


def _suspects(module: nn.Module) -> str:
    kinds = sorted(
        {type(one).__name__.removeprefix("Onnx") for one in module.modules() if "Onnx" in type(one).__name__}
    )
    return f"; its operators without a module of PyTorch are {', '.join(kinds[:6])}" if kinds else ""
