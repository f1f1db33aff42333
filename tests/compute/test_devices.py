"""Devices by name."""

import pytest
import torch

from paxray_lib.compute.devices import find_device, share_cores


def test_the_cpu_is_always_there():
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu0", "cuda:99", "meta"])
def test_other_devices_are_refused(name):
    with pytest.raises(ValueError, match=f"device '{name}' is not available"):
        find_device(name)


@pytest.mark.parametrize(
    ("asked", "shared"), [("1", (1, 2)), ("4", (2, 2)), ("16", (12, 4)), ("0", (1, 2))]
)
def test_the_cores_that_are_asked_for_are_shared(monkeypatch, asked, shared):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert share_cores() == shared
