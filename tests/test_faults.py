"""The list of faults names tests that there are."""

from __future__ import annotations

from pathlib import Path

from tests.faults import FAULTS, TESTS

FOLDER = Path(__file__).parent


def test_every_fault_has_a_test_that_is_there():
    assert all(FAULTS.values())
    files = {name.partition("::")[0]: (FOLDER / name.partition("::")[0]).read_text(encoding="utf-8") for name in TESTS}
    assert [name for name in TESTS if f"def {name.partition('::')[2]}(" not in files[name.partition("::")[0]]] == []
