"""The packed loss against the published numbers and against a plain float64 implementation with
autograd.
"""

import json

import numpy as np
import pytest
import torch
from helpers.sampledata import ROOT
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from paxray_lib.training import packed_dice
from paxray_lib.training.losses import (
    LOSSES,
    dense,
    dice_bce,
    dice_bce_coarse,
    loss_of_coarse,
    mean_of_known,
)

KINDS = ("published", "present")

CASES = json.loads((ROOT / "tests/reference" / "published_loss.json").read_text())["cases"]
FORMATS = [torch.contiguous_format, torch.channels_last]


def plain_loss(logits, target, kind):
    """The definition, label by label, for autograd."""
    p, t = logits.double().sigmoid(), target.double()
    total = 0
    for image in range(len(p)):
        total = total + binary_cross_entropy_with_logits(logits[image].double(), t[image])
        if kind == "published":
            pairs = [(p[image], t[image])]
            scores = [((a * b).sum() + 1) / ((a**2).sum() + (b**2).sum() + 1) for a, b in pairs]
        else:
            pairs = [(a, b) for a, b in zip(p[image], t[image], strict=True) if b.any()]
            scores = [(2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1) for a, b in pairs]
        total = total + (1 - sum(scores) / len(scores) if scores else 0)
    return total / len(p)


def pack(target):
    return torch.from_numpy(
        np.packbits(target.permute(0, 2, 3, 1).numpy(), axis=-1, bitorder="little")
    )


def loss_and_gradient(function, logits, *rest):
    logits = logits.detach().requires_grad_()
    loss = function(logits, *rest)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def random_inputs(seed, shape=(2, 11, 5, 7), amplitude=4.0):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(amplitude * rng.standard_normal(shape))
    target = torch.from_numpy(rng.random(shape) < 0.3)
    target[0, 1:3] = False  # absent labels
    return logits, target


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
@pytest.mark.parametrize("form", ["dense", "packed"])
@pytest.mark.parametrize("memory_format", FORMATS, ids=["planar", "channels-last"])
def test_published_numbers(case, form, memory_format):
    n, c, y, x = np.indices(case["shape"])
    values = case["logit_offset"] + case["amp"] * np.sin(0.7 * n + 0.5 * c + 0.31 * y + 0.17 * x)
    target = torch.from_numpy(((5 * c + 2 * y + 7 * x + 13 * n) % 11) < 4)
    logits = torch.from_numpy(values.astype(np.float32)).contiguous(memory_format=memory_format)
    loss, gradient = loss_and_gradient(
        dice_bce, logits, pack(target) if form == "packed" else target
    )
    assert loss.dtype == torch.float32
    assert gradient.stride() == logits.stride()
    assert loss.item() == pytest.approx(case["loss"], abs=1e-6)
    assert gradient.abs().sum().item() == pytest.approx(case["grad_abs_sum"], abs=1e-6)
    flat = gradient.reshape(-1)
    assert [flat[i].item() for i, _ in case["grad_samples"]] == pytest.approx(
        [value for _, value in case["grad_samples"]], abs=1e-8
    )


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.sampled_from([(1, 1, 1, 1), (2, 11, 5, 7), (3, 8, 4, 4), (1, 17, 1, 3)]),
    st.sampled_from(FORMATS),
    st.sampled_from([1, 40, 2**18]),
)
def test_equals_plain_float64_with_autograd(seed, kind, shape, memory_format, block):
    logits, target = random_inputs(seed, shape)
    expected, expected_gradient = loss_and_gradient(plain_loss, logits, target, kind)
    logits = logits.contiguous(memory_format=memory_format)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_dice, "CPU_BLOCK", block)  # one label or pixel at a time, a few, all
        for form in (pack(target), target, target.long()):
            loss, gradient = loss_and_gradient(dice_bce, logits, form, kind)
            torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_equals_finite_differences(kind):
    logits, target = random_inputs(0, (2, 3, 2, 2))
    assert torch.autograd.gradcheck(
        lambda x: dice_bce(x, pack(target), kind), (logits.requires_grad_(),)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["dense", "packed"])
def test_the_form_for_compilers_is_the_same_function(kind, form, monkeypatch):
    logits, target = random_inputs(1)
    target = pack(target) if form == "packed" else target
    expected = loss_and_gradient(dice_bce, logits, target, kind)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(loss_and_gradient(dice_bce, logits, target, kind), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("memory_format", FORMATS, ids=["planar", "channels-last"])
def test_bfloat16_logits_are_summed_in_float32(kind, memory_format):
    logits, target = random_inputs(2, (2, 9, 40, 40))
    logits = logits.bfloat16().contiguous(memory_format=memory_format)
    expected, expected_gradient = loss_and_gradient(plain_loss, logits.double(), target, kind)
    loss, gradient = loss_and_gradient(dice_bce, logits, pack(target), kind)
    assert loss.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    # relative: half a unit of bfloat16 and some; absolute: p - t of a good prediction cancels in
    # float32
    atol = 1e-6 * expected_gradient.abs().max().item()
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=2**-8, atol=atol)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.sampled_from([(1, 1), (5, 7), (8, 3), (10, 14)]),
    st.sampled_from([(10, 14), (16, 12), (11, 13)]),
    st.sampled_from(FORMATS),
    st.sampled_from([1, 300, 2**18]),
)
def test_coarse_logits_equal_those_enlarged_by_autograd(
    seed, kind, size, full, memory_format, block
):
    logits = random_inputs(seed, (2, 11, *size))[0].contiguous(memory_format=memory_format)
    target = random_inputs(seed, (2, 11, *full))[1]

    def expected(x):
        return plain_loss(interpolate(x, full, mode="bilinear", align_corners=False), target, kind)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_dice, "CPU_BLOCK", block)  # one row at a time, a few, all
        found = loss_and_gradient(dice_bce_coarse, logits, pack(target), kind)
    torch.testing.assert_close(found, loss_and_gradient(expected, logits), rtol=1e-10, atol=1e-13)


def test_coarse_logits_in_bfloat16_are_enlarged_and_summed_in_float32():
    logits = random_inputs(0, (2, 9, 10, 10))[0].bfloat16()
    target = random_inputs(0, (2, 9, 40, 40))[1]
    # columns are enlarged in the type of the logits, as in a network
    wide = interpolate(logits, (10, 40), mode="bilinear").double()
    expected = plain_loss(interpolate(wide, (40, 40), mode="bilinear"), target, "published")
    loss, gradient = loss_and_gradient(dice_bce_coarse, logits, pack(target))
    assert (loss.dtype, gradient.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)


def test_coarse_logits_never_exist_at_full_size():
    logits = random_inputs(8, (3, 40, 8, 8))[0].float().requires_grad_()
    target = random_inputs(8, (3, 40, 64, 64))[1]
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: sizes.append(x.numel()) or x, lambda x: x
    ):
        dice_bce_coarse(logits, pack(target))
    assert max(sizes) == 3 * 40 * 8 * 64


def test_coarse_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"uint8 .* does not fit logits \(2, 9, 8, 8\)"):
        dice_bce_coarse(torch.zeros(2, 9, 4, 4), torch.zeros(2, 8, 8, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\(N, L, h, w\)"):
        dice_bce_coarse(torch.zeros(2, 9, 4), torch.zeros(2, 8, 8, 2, dtype=torch.uint8))


def test_extreme_logits_stay_finite():
    logits = torch.tensor([1e4, -1e4, 1e30, -1e30]).reshape(1, 4, 1, 1)
    for kind in KINDS:
        right = loss_and_gradient(dice_bce, logits, (logits > 0), kind)
        wrong = loss_and_gradient(dice_bce, logits / 1e20, (logits < 0), kind)
        assert all(value.isfinite().all() for value in right + wrong)


def test_a_loss_that_is_not_finite_is_not_hidden():
    logits, target = random_inputs(3)
    logits[0, 0, 0, 0] = float("nan")
    for kind in KINDS:
        assert dice_bce(logits, pack(target), kind).isnan()


def test_a_perfect_prediction():
    target = random_inputs(4, (2, 9, 30, 30))[1]
    logits = 60.0 * target.double() - 30
    assert dice_bce(logits, pack(target), "published").item() == pytest.approx(0.5, abs=1e-3)
    assert dice_bce(logits, pack(target), "present").item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_the_mean_of_its_images(kind):
    logits, target = random_inputs(5, (3, 10, 6, 6))
    target[2] = False  # an image without any label
    packed = pack(target)
    single = [dice_bce(logits[i : i + 1], packed[i : i + 1], kind) for i in range(3)]
    torch.testing.assert_close(dice_bce(logits, packed, kind), sum(single) / 3)


def test_a_label_absent_from_the_target_does_not_change_the_present_dice():
    logits, target = random_inputs(6)
    changed = logits.clone()
    changed[0, 1] += 3
    gap = dice_bce(changed, target, "present") - dice_bce(logits, target, "present")
    entropy = binary_cross_entropy_with_logits
    torch.testing.assert_close(
        gap, entropy(changed, target.double()) - entropy(logits, target.double())
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("enlarged", [False, True])
@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_labels_that_are_not_known_are_as_if_cut_out(kind, enlarged, seed, share):
    logits, target = random_inputs(seed)
    known = torch.from_numpy(np.random.default_rng(seed).random(logits.shape[:2]) < share)
    if enlarged:
        target = target.repeat_interleave(2, 2).repeat_interleave(2, 3)
    function = dice_bce_coarse if enlarged else dice_bce
    loss, gradient = loss_and_gradient(function, logits, pack(target), kind, known)
    expected, expected_gradient = torch.zeros((), dtype=torch.float64), torch.zeros_like(logits)
    for i, some in enumerate(known):
        if some.any():
            cut = pack(target[i : i + 1, some])
            one = loss_and_gradient(function, logits[i : i + 1, some], cut, kind)
            expected = expected + one[0] / len(known)
            expected_gradient[i, some] = one[1][0] / len(known)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    assert (gradient[~known] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_knowing_all_labels_is_the_default_to_the_bit(kind):
    logits, target = random_inputs(9)
    known = torch.ones(logits.shape[:2], dtype=torch.bool)
    expected = loss_and_gradient(dice_bce, logits, pack(target), kind)
    for a, b in zip(
        loss_and_gradient(dice_bce, logits, pack(target), kind, known), expected, strict=True
    ):
        assert torch.equal(a, b)


def test_a_mean_over_known_labels():
    values = torch.arange(12.0).reshape(2, 3, 1, 2)
    assert mean_of_known(values, None) == values.mean()
    known = torch.tensor([[True, False, True], [False, False, False]])
    assert mean_of_known(values, known) == pytest.approx(values[0, [0, 2]].mean().item() / 2)


def test_any_strides_are_accepted():
    logits, target = random_inputs(7, (2, 11, 7, 5))
    expected = loss_and_gradient(dice_bce, logits, pack(target))
    wide = torch.zeros(2, 11, 7, 10, dtype=torch.float64)
    wide[..., ::2] = logits
    loss, gradient = loss_and_gradient(
        dice_bce, wide[..., ::2], pack(target).transpose(1, 2).contiguous().transpose(1, 2)
    )
    torch.testing.assert_close((loss, gradient), expected)


def test_only_the_gradient_is_as_large_as_the_logits():
    logits, target = random_inputs(8, (3, 40, 16, 16))
    logits = logits.float().requires_grad_()
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: sizes.append(x.numel() * x.element_size()) or x, lambda x: x
    ):
        dice_bce(logits, pack(target))
    assert sorted(sizes)[-1] == logits.numel() * 4
    assert sum(sizes) < 1.1 * logits.numel() * 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "publised"}, "did you mean 'published'"),
        (
            {"target": torch.zeros(2, 6, 5, 2, dtype=torch.uint8)},
            r"\(2, 6, 5, 2\).*uint8 \(2, 5, 6, 2\)",
        ),
        ({"target": torch.zeros(2, 5, 6, 2)}, "float32"),
        ({"logits": torch.zeros(2, 9, 5)}, r"\(N, L, h, w\)"),
        ({"known": torch.ones(2, 8, dtype=torch.bool)}, r"bool \(2, 8\).*need bool \(2, 9\)"),
        ({"known": torch.ones(2, 9)}, "float32"),
        ({"logits": torch.zeros(2, 9, 5, 6, dtype=torch.int64)}, "int64"),
        (
            {"target": torch.zeros(2, 5, 6, 2, dtype=torch.uint8, device="meta")},
            "target is on meta",
        ),
    ],
)
def test_errors_say_what_is_wrong(change, words):
    arguments = {
        "logits": torch.zeros(2, 9, 5, 6),
        "target": torch.zeros(2, 5, 6, 2, dtype=torch.uint8),
    } | change
    with pytest.raises(ValueError, match=words):
        dice_bce(**arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_does_not_round_inside(kind):
    logits, target = random_inputs(0)
    logits = logits.to(torch.bfloat16)
    target = pack(target.repeat_interleave(2, 2).repeat_interleave(2, 3))
    expected = loss_and_gradient(dice_bce_coarse, logits, target, kind)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = loss_and_gradient(dice_bce_coarse, logits, target, kind)
    for one, other in zip(rounded, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_is_found_by_its_name(kind):
    logits, target = random_inputs(0)
    expected = dice_bce(logits, pack(target), kind)
    torch.testing.assert_close(LOSSES[kind](logits, pack(target)), expected)
    torch.testing.assert_close(loss_of_coarse(logits, pack(target), kind), expected)


def test_a_plain_function_is_a_loss(monkeypatch):
    def entropy(logits, target, known=None):
        values = binary_cross_entropy_with_logits(logits, dense(target, logits), reduction="none")
        return mean_of_known(values, known)

    monkeypatch.setitem(LOSSES, "entropy", entropy)
    coarse, target = random_inputs(0)[0], random_inputs(0, (2, 11, 10, 14))[1]
    full = interpolate(coarse, (10, 14), mode="bilinear")
    expected = binary_cross_entropy_with_logits(full, target.double())
    torch.testing.assert_close(loss_of_coarse(coarse, pack(target), "entropy"), expected)
    torch.testing.assert_close(LOSSES["entropy"](full, target), expected)
    known = torch.ones(2, 11, dtype=torch.bool)
    known[:, 3:] = False
    found = loss_of_coarse(coarse, pack(target), "entropy", known)
    expected = binary_cross_entropy_with_logits(full[:, :3], target[:, :3].double())
    torch.testing.assert_close(found, expected)
