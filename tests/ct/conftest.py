"""What the tests of this room share."""

import pytest
from helpers.chestdata import make_chest

from paxray_lib.ct.scan import Scan


@pytest.fixture(scope="session")
def chest() -> Scan:
    """A chest of blocks, which no test may change."""
    scan = make_chest()
    scan.hu.flags.writeable = scan.structures.flags.writeable = False
    return scan
