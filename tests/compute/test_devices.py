"""Devices by name."""

import pytest
import torch

from paxray_lib.compute.devices import find_device


def test_the_cpu_is_always_there():
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu0", "cuda:99", "meta"])
def test_other_devices_are_refused(name):
    with pytest.raises(ValueError, match=f"device '{name}' is not available"):
        find_device(name)
