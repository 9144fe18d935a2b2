"""What libraries may do to the process, they do inside a block only."""

from __future__ import annotations

import threading

import pytest
import torch

from spade_core.isolation import alone, full_precision
from spade_core.progress import Cancelled, silent

LONG = 120  # seconds for what must happen at some time, however busy the machine is


def precision() -> str:
    return torch.backends.cudnn.conv.fp32_precision


@pytest.mark.parametrize("error", [None, ZeroDivisionError, Cancelled])
def test_convolutions_are_whole_float32_inside_and_as_before_afterwards(error):
    before = precision()
    assert before != "ieee"
    try:
        with full_precision():
            assert precision() == "ieee"
            with alone(0, silent):
                assert precision() == "ieee"
            assert precision() == "ieee"
            if error:
                raise error
    except (ZeroDivisionError, Cancelled):
        pass
    assert precision() == before


def test_the_last_of_several_threads_gives_the_precision_back():
    before, inside, leave, left = precision(), threading.Event(), threading.Event(), threading.Event()

    def hold():
        with full_precision():
            inside.set()
            leave.wait(LONG)
        left.set()

    thread = threading.Thread(target=hold)
    with full_precision():
        thread.start()
        assert inside.wait(LONG)
    assert precision() == "ieee"
    leave.set()
    thread.join(LONG)
    assert left.is_set()
    assert precision() == before
