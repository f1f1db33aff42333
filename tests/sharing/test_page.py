"""Films and masks as one page: what is in it, and what is said of films that are not."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers.tiny_models import tiny_model
from PIL import Image

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.probabilities import Probabilities, probabilities_name
from paxray_lib.models import named, save_model
from paxray_lib.sharing import page as module
from paxray_lib.sharing.page import export_page
from paxray_lib.viewer.traits import ViewerTraits


@pytest.fixture
def films(tiny, tmp_path):
    """A folder of three films, and one of their masks, of which the last is missing."""
    test = PaxrayDataset(tiny, split="test")
    for i in range(3):
        path = tmp_path / "films" / test.image_path(i).name
        path.parent.mkdir(exist_ok=True)
        shutil.copy(test.image_path(i), path)
        if i < 2:
            test.masks(i).write(tmp_path / f"masks/{path.stem}.pxm")
    return tmp_path / "films"


@pytest.fixture
def masks(films):
    return films.parent / "masks"


@pytest.fixture
def open_model(tmp_path, monkeypatch):
    """A tiny network in the place of the open model."""
    path = tmp_path / "open.ckpt"
    save_model(path, tiny_model(labels=LABELS, preprocessing=Preprocessing("standard", (64, 64))))
    monkeypatch.setitem(named.MODELS, "open", (path, ""))


def state_of(path):
    """Return the values of a page's traits, and its films."""
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', path.read_text(), re.S)
    state = json.loads(text)
    return state["traits"], state["scenes"]


def test_films_with_their_masks(films, masks, tmp_path):
    made = export_page(films, tmp_path / "page.html", masks=masks)
    traits, scenes = state_of(tmp_path / "page.html")
    assert (made.films, made.bytes) == (2, (tmp_path / "page.html").stat().st_size)
    stems = sorted(path.stem for path in films.iterdir())
    assert [scene["name"] for scene in scenes] == traits["_items"]["names"] == stems[:2]
    assert [scene["index"] for scene in scenes] == [0, 1]
    assert traits["_labels"]["names"] == list(LABELS.names)
    assert {"heart", "lung_left", "lung_right"} == set(traits["selected"])
    (problem,) = made.problems
    assert re.search(rf"{stems[2]}\.png: no masks in .*masks", problem)


def test_a_film_alone_with_some_labels(films, masks, tmp_path):
    film = sorted(films.iterdir())[1]
    made = export_page(film, tmp_path / "page.html", masks=masks, labels=["heart", "ribs"], size=40)
    traits, (scene,) = state_of(tmp_path / "page.html")
    assert (made.films, made.problems) == (1, [])
    ribs = [LABELS.names[i] for i in LABELS.select("heart", "ribs")]
    assert traits["_labels"]["names"] == traits["selected"] == ribs
    assert max(scene["width"], scene["height"]) == 40
    assert "Reduced to" in scene["note"]


def test_probabilities_come_along_if_their_labels_do(films, masks, tmp_path):
    film = sorted(films.iterdir())[0]
    with Image.open(film) as image:
        values = np.zeros((1, image.height, image.width), np.uint8)
    heat = Probabilities(values, LabelSet(["heart"]))
    heat.write(probabilities_name(masks / f"{film.stem}.pxm"))
    for labels, has in ((None, True), (["heart"], True), (["ribs"], False)):
        export_page(film, tmp_path / "page.html", masks=masks, labels=labels)
        (scene,) = state_of(tmp_path / "page.html")[1]
        assert ("heat" in scene) is has


def test_without_masks_the_open_model_predicts_them(films, tmp_path, open_model):
    (films / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    made = export_page(films, tmp_path / "page.html", labels=["heart"])
    traits, scenes = state_of(tmp_path / "page.html")
    assert len(scenes) == made.films == 3
    assert all("prediction" in scene for scene in scenes)
    (problem,) = made.problems
    assert "damaged.png" in problem
    assert "doubt" not in traits["_items"]["scores"]  # only the open model has one
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("films", "masks", "open.ckpt", "page.html"),
    ]


def test_masks_that_cannot_be_read_are_problems_and_the_others_go_on(films, masks, tmp_path):
    first, second = sorted(masks.iterdir())
    first.write_bytes(b"nothing")
    made = export_page(films, tmp_path / "page.html", masks=masks)
    assert [scene["name"] for scene in state_of(tmp_path / "page.html")[1]] == [second.stem]
    assert any(first.name in problem for problem in made.problems)
    second.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=second.name):
        export_page(films, tmp_path / "page.html", masks=masks)


def test_a_page_that_would_be_too_large_is_not_written(films, masks, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"more than 0 MB with 1 of 2 films.*--labels.*--size"):
        export_page(films, tmp_path / "page.html", masks=masks)
    monkeypatch.setattr(module, "MOST_FILMS", 1)
    with pytest.raises(ValueError, match=r"2 films, but a page has at most 1; make several"):
        export_page(films, tmp_path / "page.html", masks=masks)
    assert not (tmp_path / "page.html").exists()


def test_its_state_is_that_of_a_new_widget(films, masks, tmp_path):
    export_page(films, tmp_path / "page.html", masks=masks)
    traits, own = state_of(tmp_path / "page.html")[0], ViewerTraits.class_own_traits(sync=True)
    assert traits.keys() == own.keys() - {"_first", "_folder", "_review"}
    for name in traits.keys() - {"mode", "selected", "_labels", "_items"}:
        assert traits[name] == own[name].default(), name


@pytest.mark.slow
def test_it_needs_no_package_of_notebooks(films, masks, tmp_path):
    code = (
        "import sys\n"
        "for name in ('torch', 'matplotlib', 'ipywidgets', 'anywidget', 'traitlets', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "from paxray_lib.sharing.page import export_page\n"
        "export_page(sys.argv[1], sys.argv[2], masks=sys.argv[3])\n"
    )
    command = [sys.executable, "-c", code, films, tmp_path / "page.html", masks]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").exists()
