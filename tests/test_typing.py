# SPDX-License-Identifier: MIT
"""The programs in tests/typing run. What type checkers say of them is in
type_checks.py, which `make lint` runs."""

import pickle
import typing
from pathlib import Path

import pytest
from arrays import needed_by
from conftest import python

PROGRAMS = sorted((Path(__file__).parent / "typing").glob("*.py"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_program_runs(path):
    needed_by(path.read_text())
    done = python(
        f"import runpy; runpy.run_path({str(path)!r}, None, '__main__')"
    )
    assert done.stdout and not done.stderr
    assert "# E: " in path.read_text()


def test_list_is_generic_at_run_time(both):
    alias = both.ShareableList[int]
    assert alias == both.ShareableList[int]
    assert typing.get_origin(alias) is both.ShareableList
    assert typing.get_args(alias) == (int,)
    assert pickle.loads(pickle.dumps(alias)) == alias
    assert repr(alias) == f"{both.__name__}.ShareableList[int]"

    class Derived(both.ShareableList[int]):
        pass

    for kind in alias, Derived, Derived[int]:
        sl = kind([1, 2])
        assert list(sl) == [1, 2] and isinstance(sl, both.ShareableList)
        sl.shm.close()
        sl.shm.unlink()
