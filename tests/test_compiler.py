"""What asks for PyTorch's compiler while it is imported does not import it, and has it where it is really needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BEGIN = """
import sys, torch
from spade_core.compiler import COMPILER, compiler, without_the_compiler
"""
IMPORTED = """
with without_the_compiler():
    import timm, torchvision.transforms.v2
assert compiler() is None
assert not [name for name in sys.modules if name.startswith(COMPILER)]
"""


def run(*lines):
    """Run in a process of its own: what is imported stays."""
    text = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_a_workers_tasks_load_a_model_and_make_a_trace_without_it():
    assert run(
        BEGIN,
        "from spade_core import tasks",
        "tasks.warm_up('cpu')",
        "import spade_core as sc",
        "model = sc.load_model('efficientnet_lite0')",
        "sc.trace(model, sc.load_picture('bundled:dog'), views=1, sparsity=0.5, solver='magnitude')",
        "print(compiler() is None)",
    ) == "True"  # fmt: skip


def test_what_is_compiled_later_is_compiled_by_the_real_one():
    assert run(
        BEGIN,
        IMPORTED,
        "found = torch.compile(lambda x: x + 1, backend='eager')(torch.ones(2)).tolist()",
        "late = sys.modules['torchvision.ops.roi_align']",
        "print(found, late.is_compile_supported('cpu') in (True, False), compiler().utils.__file__ is not None)",
    ) == "[2.0, 2.0] True True"  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", ["OptimizedModule", "utils.counters"])
def test_any_other_name_is_the_real_ones(name):
    package, _, last = f"torch._dynamo.{name}".rpartition(".")
    asked = f"from {package} import {last}"
    assert run(
        BEGIN, "with without_the_compiler():", f"    {asked}", f"print({last} is not None, compiler() is not None)"
    ) == ("True True")


@pytest.mark.long
def test_nothing_is_left_behind_by_an_error_and_the_real_one_stays():
    run(
        BEGIN,
        "try:",
        "    with without_the_compiler():",
        "        raise ImportError",
        "except ImportError:",
        "    assert compiler() is None",
        "import torch._dynamo as real",
        "with without_the_compiler():",
        "    assert compiler() is real",
        "assert compiler() is real",
    )
