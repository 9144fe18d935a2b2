"""One own model in each of four ways, from its files to its maps, on the command line and in the page.

    python -m benchmarks.own_models --out DIR

Four networks with random weights are saved as their libraries save them. Each is then explained by one command, and by
the fields of the page *Saliency maps* in headless Chromium, on a server that has just started. ``DIR`` gets the table
of seconds, ``seconds.md``, and a screenshot of each page. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import io
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from safetensors.torch import save_file

from benchmarks.page import CLOCK
from benchmarks.serving import FLAGS, processor_s, start_python, start_server, stop_server
from spade_core.isolation import seeded
from spade_core.ui.common.link import DEFAULT_METHODS

CLASSES = ("fox", "owl", "toad")
HEADS = (
    "Own model",
    "command, s",
    "of its processor",
    "page: to the prediction, s",
    "from the click to the first maps",
    "to all of it",
    "of its processor",
)
HALF = "0.5, 0.5, 0.5"
LONG = 600_000  # ms; generous, for machines that do other things too


@dataclass(frozen=True)
class Own:
    """A model of one's own, as it lies on a disk.

    Attributes:
        title: for the table.
        files: what the page is given, the weights first.
        arch: of the network, where its files do not say; named: whether they name its classes.
        input: what of ``mean`` and ``std`` they do not say.
    """

    title: str
    files: tuple[Path, ...]
    arch: str = ""
    named: bool = False
    input: Mapping[str, str] = field(default_factory=dict)

    @property
    def weights(self) -> Path:
        """What the command is given: the file, or the folder of several."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent

    def words(self) -> list[str]:
        """Return the command's words for it."""
        arch = ["--arch", self.arch] if self.arch else []
        classes = [] if self.named else ["--classes", str(self.files[0].parent / "classes.txt")]
        given = [word for name, value in self.input.items() for word in (f"--{name}", value.replace(" ", ""))]
        return ["--weights", str(self.weights), *arch, *classes, *given]


def _torchvision(folder: Path) -> Own:
    from torchvision.models import mobilenet_v2

    state = {f"module.{name}": value for name, value in mobilenet_v2(num_classes=len(CLASSES)).state_dict().items()}
    torch.save({"epoch": 7, "state_dict": state}, folder / "checkpoint.pt")
    return Own("torchvision, a checkpoint with `module.` before its names", (folder / "checkpoint.pt",), "mobilenet_v2")


def _timm(folder: Path) -> Own:
    import timm

    save_file(timm.create_model("lcnet_050", num_classes=len(CLASSES)).state_dict(), folder / "finetuned.safetensors")
    return Own("timm, by name and tag", (folder / "finetuned.safetensors",), "timm:lcnet_050.ra2_in1k")


def _transformers(folder: Path) -> Own:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    config = ViTConfig(  # ViT-Tiny
        hidden_size=192,
        num_hidden_layers=12,
        num_attention_heads=3,
        intermediate_size=768,
        id2label=dict(enumerate(CLASSES)),
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor().save_pretrained(folder)
    names = ("model.safetensors", "config.json", "preprocessor_config.json")
    return Own("transformers, the folder of a ViT", tuple(folder / name for name in names), named=True)


def _onnx(folder: Path) -> Own:
    from torchvision.models import squeezenet1_1

    module = squeezenet1_1(num_classes=len(CLASSES)).eval()
    with warnings.catch_warnings():  # of an exporter that is not the newest, and needs no further package
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(1, 3, 224, 224),), folder / "exported.onnx", dynamo=False)
    return Own("ONNX, one file", (folder / "exported.onnx",), input={"mean": HALF, "std": HALF})


WAYS: Mapping[str, Callable[[Path], Own]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "transformers": _transformers,
    "onnx": _onnx,
}


def make(way: str, folder: Path) -> Own:
    """Save a network with random weights, and class names, into ``folder``."""
    folder.mkdir(parents=True)
    (folder / "classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    with seeded(0):
        return WAYS[way](folder)


def by_command(own: Own, out: Path) -> tuple[float, float]:
    """Explain a picture by the command; return its seconds, and those of the processor.

    Raises:
        RuntimeError: it failed; what it said is on standard error.
    """
    methods = [word for slug in DEFAULT_METHODS for word in ("--method", slug)]
    words = ["explain", "--image", "bundled:dog", *methods, *own.words(), "--out", str(out)]
    start, spent = time.perf_counter(), _processor_s()
    if start_python(["-m", "spade_core", *words], {}).wait():
        raise RuntimeError(f"the command of {own.title} failed")
    return time.perf_counter() - start, _processor_s() - spent


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_page(page: Page, url: str, own: Own) -> tuple[float, float, float]:
    """Fill in the page's fields and run; return the seconds to the prediction, to the first maps and to all of them."""
    start = time.perf_counter()
    page.goto(f"{url}/saliency")
    page.locator(".st-key-model input").click()
    page.get_by_role("option", name="own weights").click()
    _upload(page, "weights_file", own.files[:1])
    if len(own.files) > 1:
        _upload(page, "weights_config", own.files[1:])
    if own.input:
        page.get_by_text("Input, where it is not").click()
    for key, text in {"arch": own.arch, **own.input}.items():
        if text:
            page.locator(f".st-key-weights_{key} input").fill(text)
            page.keyboard.press("Enter")
    if not own.named:
        page.locator(".st-key-weights_classes textarea").fill("\n".join(CLASSES))
        page.keyboard.press("Control+Enter")
    page.get_by_text(f"What {own.files[0].stem} predicts for this picture").wait_for()
    ready = time.perf_counter() - start
    page.evaluate(CLOCK)
    page.get_by_role("button", name="Run SPADE").click()
    page.wait_for_function("window.waited.all && window.waited.pair", polling=500)
    return ready, page.evaluate("window.waited.pair"), page.evaluate("window.waited.all")


def _upload(page: Page, key: str, files: Sequence[Path]) -> None:
    field_of = page.locator(f".st-key-{key}")
    field_of.locator("input[type=file]").set_input_files(list(files))
    field_of.get_by_test_id("stFileChipName").nth(len(files) - 1).wait_for()  # long names are shortened


def shoot(page: Page, file: Path) -> None:
    """Save what the page shows as WebP."""
    Image.open(io.BytesIO(page.screenshot())).save(file, "WEBP", quality=80)


def row_of(way: str, page: Page, served: tuple[int, str], folder: Path, out: Path) -> str:
    """Bring one model both ways; return its line of the table.

    Args:
        served: the server's process and its address.
    """
    (pid, url), own = served, make(way, folder)
    seconds = list(by_command(own, folder / "results"))
    before = processor_s(pid)
    seconds += by_page(page, url, own)
    seconds.append(processor_s(pid) - before)
    shoot(page, out / f"{way}.webp")
    return f"| {own.title} | {' | '.join(f'{value:.1f}' for value in seconds)} |"


def main() -> None:
    """Bring each model, print and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_models", description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument("--only", choices=WAYS, help="one of the ways")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = [f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
    for line in rows((options.only,) if options.only else tuple(WAYS), options.chromium, options.out):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        lines.append(line)
    (options.out / "seconds.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def rows(ways: Sequence[str], chromium: str, out: Path) -> Iterator[str]:
    """Yield the lines of the table, on a server and in a browser of their own."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        given = {"SPADE_DATA_DIR": f"{name}/data", "SPADE_ALLOW_WEIGHTS_UPLOAD": "1"}
        process, url = start_server("app.py", given)
        try:
            for way in ways:
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.set_default_timeout(LONG)
                yield row_of(way, page, (process.pid, url), Path(name) / way, out)
                page.close()
        finally:
            stop_server(process)
            browser.close()


if __name__ == "__main__":
    main()
