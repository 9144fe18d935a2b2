from __future__ import annotations

import numpy as np
import pytest

from spade_core.errors import ConfigError
from spade_core.pictures.size import as_size, parse_size, shown_size, sides_of, size_text


@pytest.mark.parametrize(
    ("text", "size"), [("224", 224), ("256x192", (256, 192)), (" 64 x 64 ", 64), ("1x1024", (1, 1024))]
)
def test_a_size_is_read_and_written(text, size):
    assert parse_size(text) == size
    assert parse_size(size_text(size)) == size
    assert shown_size(size) == "{} x {}".format(*sides_of(size))
    assert as_size(list(sides_of(size))) == size  # as JSON gives it back


@pytest.mark.parametrize("text", ["", "x", "224x", "2.5", "-3", "12x12x12", "224,160", "٣٢"])
def test_what_is_no_size_is_told(text):
    with pytest.raises(ConfigError, match="A size reads 224, or 256x192"):
        parse_size(text)


def test_numbers_of_other_libraries_are_whole_numbers_too():
    assert as_size(np.int64(7)) == 7
    assert as_size((np.int64(7), 8)) == (7, 8)
    with pytest.raises(ConfigError, match="one whole number, or two"):
        as_size((7.0, 8.0))
