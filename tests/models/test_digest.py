"""A digest notices every change of what is saved, and no other."""

from collections import OrderedDict

import pytest
import torch

from paxray_lib.models.digest import digest

IMAGES = torch.arange(24.0).reshape(1, 2, 3, 4)
VALUE = {"a": [1, 2.5, "x", None, True], "b": {"c": IMAGES}, "d": (torch.zeros(0), torch.ones(()))}


def test_the_order_in_memory_does_not_matter():
    other = IMAGES.to(memory_format=torch.channels_last)
    assert other.stride() != IMAGES.stride()
    assert digest(other) == digest(IMAGES)
    assert digest({**VALUE, "b": {"c": other}}) == digest(VALUE)


@pytest.mark.parametrize(
    "changed",
    [
        {"a": [1, 2.5, "x", None, 1]},
        {"a": (1, 2.5, "x", None, True)},
        {"a": [1, 2.5, "y", None, True]},
        {"b": {"d": IMAGES}},
        {"b": OrderedDict(c=IMAGES)},
        {"b": {"c": IMAGES.double()}},
        {"b": {"c": IMAGES.reshape(1, 2, 4, 3)}},
        {"b": {"c": IMAGES.transpose(2, 3)}},
        {"b": {"c": IMAGES.nextafter(IMAGES + 1)}},
        {"d": (torch.zeros(0), torch.zeros(()))},
        {"e": None},
    ],
)
def test_every_change_is_noticed(changed):
    assert digest(VALUE | changed) != digest(VALUE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.bool, torch.complex64, torch.int8])
def test_kinds_of_numbers(dtype):
    ones, zeros = (make(3, dtype=dtype) for make in (torch.ones, torch.zeros))
    assert digest(ones) == digest(ones.clone()) != digest(zeros)


def test_what_refers_to_itself_again_and_again_has_a_limit():
    value = [torch.zeros(100)]
    for _ in range(30):
        value = [value] * 10
    with pytest.raises(ValueError, match="claims more than 100000 bytes"):
        digest(value, 1e5)
    assert digest([torch.zeros(100)], 1e5) == digest([torch.zeros(100)])
