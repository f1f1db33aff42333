"""The faster copy for inference."""

import pytest
import torch
from helpers.tiny_models import NAMES, one_size, random_images, tiny_model
from torch import nn

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.models.build import build_model
from paxray_lib.models.checkpoints import save_model
from paxray_lib.models.folding import fold_batch_norm, optimize_for_inference


def _with_statistics(model):
    torch.manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return model.eval()


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "tu-tf_efficientnet_lite0"])
def test_optimized_model_gives_the_same_logits(tmp_path, encoder):
    model = _with_statistics(build_model("unet", NAMES, encoder))
    keys = list(model.state_dict())
    fast = optimize_for_inference(model)
    with torch.inference_mode():
        wanted = model(random_images(2, 3, 70, 64))
        torch.testing.assert_close(
            fast(random_images(2, 3, 70, 64)),
            wanted,
            rtol=1e-4,
            atol=1e-4 * float(wanted.abs().max()),
        )
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    assert list(model.state_dict()) == keys
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="cannot be saved"):
        save_model(tmp_path / "fast.ckpt", fast)


def test_optimized_model_in_bfloat16():
    model = _with_statistics(tiny_model())
    fast = optimize_for_inference(model, precision="bfloat16")
    with torch.inference_mode():
        wanted, found = (
            model(random_images(1, 3, 64, 64)),
            fast(random_images(1, 3, 64, 64).bfloat16()),
        )
    assert found.dtype == torch.bfloat16
    assert float((found - wanted).abs().mean()) < 0.05 * float(wanted.std())


class _Shared(nn.Module):
    """Folding its BatchNorm would be wrong: the convolution's output is read a second time."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


def test_batch_norm_is_not_folded_where_that_would_change_the_result():
    network = _with_statistics(_Shared())
    images = random_images(1, 3, 8, 8)
    torch.testing.assert_close(fold_batch_norm(network, (8, 8))(images), network(images))


def test_a_network_that_takes_one_size_only():
    model = _with_statistics(one_size(tiny_model(), (64, 96)))
    fast, images = optimize_for_inference(model), random_images(1, 3, 64, 96)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    torch.testing.assert_close(fast(images), model(images), rtol=1e-3, atol=1e-3)
    with pytest.raises(AssertionError):
        fast(random_images(1, 3, 128, 128))


@pytest.mark.slow
def test_an_encoder_that_takes_one_size_only():
    own = Preprocessing(size=(256, 256))
    model = build_model("unet", NAMES, "tu-maxvit_rmlp_pico_rw_256", preprocessing=own).eval()
    fast, images = optimize_for_inference(model), random_images(1, 3, 256, 256)
    with torch.inference_mode():
        torch.testing.assert_close(fast(images), model(images), rtol=1e-3, atol=1e-3)
