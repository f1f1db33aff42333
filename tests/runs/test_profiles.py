"""Profiles: names, types, overrides and the words of the errors."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from paxray_lib.runs.profiles import build_config, read_profile
from paxray_lib.utils.settings import check_fields, field_types


@dataclasses.dataclass(frozen=True)
class Config:
    epochs: int = 1
    learning_rate: float = 1e-3
    amp: bool = False
    data_root: Path = Path("data")
    lr_milestones: tuple[int, ...] = (60, 90)
    crop_size: tuple[int, int] | None = None
    loss: Literal["published", "present"] = "present"
    encoder_weights: str | None = None
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0
    derived: int = dataclasses.field(init=False, default=0)

    def __post_init__(self):
        check_fields(self)


KNOWN = {**field_types(Config), "anything": None}


def write(folder, text, name="p.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_profile_and_overrides_build_a_config(tmp_path):
    path = write(
        tmp_path,
        "epochs: 3\nlearning_rate: 1e-3\ndata_root: data/x\nlr_milestones: [5, 7]\nanything: [a]\n",
    )
    settings = read_profile(
        path, ["epochs=4", "encoder_weights=null", "crop_size=[3, 4]", "loss=published"], KNOWN
    )
    assert settings["learning_rate"] == 0.001
    assert settings["lr_milestones"] == [5, 7]
    assert yaml.safe_load(yaml.safe_dump(settings)) == settings
    config = build_config(Config, settings)
    expected = Config(4, 0.001, False, Path("data/x"), (5, 7), (3, 4), "published", None)
    assert config == expected
    assert isinstance(config.data_root, Path)


@pytest.mark.parametrize("text", ["5e-3", "5E-3", "5.e-3", "+.5e-2", "5.0e-3", "0.005"])
def test_a_number_with_an_exponent_is_a_number_everywhere(tmp_path, text):
    path = write(
        tmp_path, f"anything: {text}\nlearning_rate: {text}\nfew: [{text}, -{text.lstrip('+')}]\n"
    )
    assert read_profile(path) == {"anything": 0.005, "learning_rate": 0.005, "few": [0.005, -0.005]}
    assert read_profile(path, [f"few={text}"], {**KNOWN, "few": None})["few"] == 0.005
    assert read_profile(write(tmp_path, "")) == {}


@pytest.mark.parametrize("text", ["'5e-3'", "e5", "5e", "1e-3x", "5e3frontal"])
def test_text_that_looks_like_a_number_stays_text(tmp_path, text):
    assert read_profile(write(tmp_path, f"anything: {text}\n")) == {"anything": text.strip("'")}


def test_derived_fields_cannot_be_set():
    assert "derived" not in field_types(Config)


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("epoch: 3\n", [], r"p\.yaml: unknown key 'epoch'; did you mean 'epochs'\?"),
        ("epochs: 3\n", ["los=present"], r"--set: unknown key 'los'; did you mean 'loss'\?"),
        ("epochs: three\n", [], r"p\.yaml: epochs .*whole number.*'three'"),
        ("loss: presnt\n", ["zoom=1"], r"p\.yaml: loss .*'presnt'; did you mean 'present'\?"),
        ("", ["zoom=1"], "--set: zoom .*less than 1, not 1"),
        ("epochs: 1\nepochs: 2\n", [], "'epochs' stands twice"),
        ("train:\n  epochs: 1\n", [], "train is a mapping"),
        ("- epochs\n", [], "got list"),
        ("a: [\n", [], "not readable as YAML"),
        ("", ["epochs"], "write it as key=value"),
        ("", ["epochs=[1"], "not readable as YAML"),
        ("", ["epochs={a: 1}"], "a profile is flat"),
    ],
)
def test_wrong_profiles_name_place_value_and_remedy(tmp_path, text, overrides, message):
    with pytest.raises(ValueError, match=message):
        read_profile(write(tmp_path, text), overrides, KNOWN)


def test_missing_profile_names_near_files(tmp_path):
    write(tmp_path, "", "demo.yaml")
    with pytest.raises(FileNotFoundError, match=r"no such profile; did you mean 'demo\.yaml'"):
        read_profile(tmp_path / "dmo.yaml")


def test_an_empty_profile_and_an_override_with_equals(tmp_path):
    assert read_profile(write(tmp_path, "# nothing\n"), ["anything=a=b"], KNOWN) == {
        "anything": "a=b"
    }
