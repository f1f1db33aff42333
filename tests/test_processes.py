import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.processes import from_first, gather, gather_rows, interleave, is_first, joined, rank_and_world


def torchrun(processes, *arguments, **options):
    """Run `python -m arguments` (or a script) in several processes and return the finished torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=300, **options
    )


@given(st.integers(0, 20), st.integers(1, 6), st.sampled_from(["int64", "float64"]))
def test_shares_come_together_in_order(total, world, dtype):
    whole = (np.arange(3 * total).reshape(total, 3) * 2**40).astype(dtype)
    again = interleave([whole[rank::world] for rank in range(world)])
    np.testing.assert_array_equal(again, whole)
    assert again.dtype == dtype


@pytest.mark.parametrize("lengths", [(1, 2), (3, 1), (2, 2, 0)])
def test_parts_that_do_not_fit_are_refused(lengths):
    with pytest.raises(ValueError, match="not the shares"):
        interleave([np.zeros(length) for length in lengths])


def test_parts_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="not the shares"):
        interleave([np.zeros((1, 2)), np.zeros((1, 3))])


def test_alone_nothing_changes():
    with joined():
        assert rank_and_world() == (0, 1)
        assert is_first()
        assert gather("x") == ["x"]
        assert gather_rows(np.arange(3)).tolist() == [0, 1, 2]
        assert from_first(lambda: 5) == 5


SCRIPT = """
import sys
import numpy as np
from paxray_lib.processes import from_first, gather, gather_rows, joined, rank_and_world

def refuse():
    raise FileNotFoundError("no such file: x")

with joined(), joined():
    rank, world = rank_and_world()
    whole = np.arange(14).reshape(7, 2) + 2**53 + 1
    assert (gather_rows(whole[rank::world]) == whole).all()
    assert gather(rank) == [0, 1]
    assert from_first(lambda: rank) == 0
    try:
        from_first(refuse)
    except (ValueError, OSError) as error:
        assert str(error) == "no such file: x"
    else:
        sys.exit("not refused")
assert rank_and_world() == (0, 1)
"""


@pytest.mark.slow
def test_two_processes_agree(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = torchrun(2, script)
    assert done.returncode == 0, done.stderr
