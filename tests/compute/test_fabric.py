import pytest
import torch

from paxray_lib.compute import fabric
from paxray_lib.compute.fabric import choose_precision, make_fabric


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_the_cpu_is_one_device_however_it_is_called(device):
    fabric = make_fabric(device, "float32")
    assert (fabric.device.type, fabric.world_size) == ("cpu", 1)


def test_nothing_is_announced(capfd):
    make_fabric("cpu", "bfloat16")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("fast", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_precision_follows_the_hardware(monkeypatch, fast, expected):
    monkeypatch.setattr(fabric, "_cpu_has_bfloat16", lambda: fast)
    assert choose_precision("auto", torch.device("cpu")) == expected
    assert choose_precision("float32", torch.device("cpu")) == "32-true"
    assert choose_precision("bfloat16", torch.device("cpu")) == "bf16-mixed"


def test_auto_precision_elsewhere_is_float32():
    assert choose_precision("auto", torch.device("mps")) == "32-true"
