"""Damaged files of each kind: the same result, a clear error, or, without checksums, a sound one.

See `helpers/fuzzing.py` for what is a fault, `helpers/specimens.py` for the kinds of files.
"""

import os
import random
import sys

import pytest
from helpers.fuzzing import Worker, faults
from helpers.specimens import SPECIMENS
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is watched by /proc")


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    with Worker(tmp_path_factory.mktemp("fuzz")) as worker:
        yield worker


@pytest.mark.parametrize("name", SPECIMENS)
@settings(max_examples=8, phases=[Phase.reuse, Phase.generate])  # a smaller seed is no smaller case
@given(seed=st.integers(0, 2**32 - 1))
def test_damaged(worker, name, seed):
    assert not faults(worker, [(name, seed)])


@pytest.mark.slow
def test_damaged_two_thousand_times(worker):
    first = 0 if "CI" in os.environ else random.SystemRandom().randrange(2**32)
    names = list(SPECIMENS)
    found = faults(
        worker, ((names[seed % len(names)], seed) for seed in range(first, first + 2000))
    )
    assert not found, f"{len(found)} faults of 2000\n" + "\n".join(found)
