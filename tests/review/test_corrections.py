"""Corrected masks in a folder: kept whole, never written over unseen, and a data set."""

import json
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from helpers.datafiles import rewrite
from helpers.sampledata import small_training
from helpers.xrays import write_xray
from PIL import Image

from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.quality.check import check_dataset
from paxray_lib.review.corrections import (
    Saved,
    digest,
    film_digest,
    labels_there,
    load_corrections,
    read_corrections,
    save_corrections,
)
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.loop import fit

LABELS = LabelSet(["heart", "mediastinum_upper", "lung", "mediastinum_upper"])


def random_masks(seed, known=None):
    masks = PackedMasks.pack(np.random.default_rng(seed).random((4, 8, 9)) < 0.4, LABELS)
    return masks if known is None else masks.knowing(np.isin(np.arange(4), known))


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "p01frontal.png"
    Image.linear_gradient("L").resize((9, 8)).save(path)
    return path


def test_masks_and_what_is_known_come_back(tmp_path, film):
    folder, before = tmp_path / "c", random_masks(0)
    assert load_corrections(folder, "p01frontal", LABELS) is None
    for i, known in enumerate((None, [0, 1], [], [3])):
        masks = random_masks(i + 1, known)
        path = save_corrections(folder, "p01frontal", masks, digest(before), "Ada", image=film)
        assert path == folder / "labels/p01frontal.pxm"
        assert load_corrections(folder, "p01frontal", LABELS) == masks
        about = json.loads((folder / "labels/p01frontal.correction.json").read_text())
        assert (about["who"], about["made_from"]) == ("Ada", digest(before))
        assert about["when"].endswith("+00:00")
        before = masks
    (entry,) = read_datafile(folder).split("train")
    assert (entry.image, entry.case, entry.view) == ("images/p01frontal.png", "p01", "frontal")
    assert (folder / entry.image).read_bytes() == film.read_bytes()
    assert not list(folder.rglob("*.part*"))


def test_a_digest_tells_masks_apart():
    one = random_masks(0)
    others = [
        random_masks(1),
        random_masks(0, [0, 1, 2]),
        PackedMasks(one.data.reshape(9, 8, 1), LABELS),
        PackedMasks(one.data, LabelSet(["a", "b", "c", "d"])),
    ]
    assert len({digest(masks) for masks in (one, *others)}) == 5
    assert digest(one) == digest(random_masks(0))


def test_two_people_do_not_write_over_each_other(tmp_path, film):
    folder, original = tmp_path / "c", random_masks(0)
    save_corrections(folder, "x", random_masks(1), digest(original), "Ada")
    with pytest.raises(ValueError, match=r"x\.pxm: was saved meanwhile by Ada; load them again"):
        save_corrections(folder, "x", random_masks(2), digest(original), "Bo")
    assert load_corrections(folder, "x", LABELS) == random_masks(1)
    save_corrections(folder, "x", random_masks(2), digest(random_masks(1)), "Bo")
    assert load_corrections(folder, "x", LABELS) == random_masks(2)
    save_corrections(folder, "deep/y", random_masks(3), digest(original), "Bo")
    assert not (folder / "paxray.json").exists()  # no film to list


@pytest.mark.parametrize("point", ["write_text", "PackedMasks.write", "_list"])
@pytest.mark.parametrize("is_first", [True, False])
def test_whatever_a_kill_leaves_can_be_read_and_saved_again(tmp_path, film, point, is_first):
    folder, original = tmp_path / "c", random_masks(0)
    first, second = random_masks(1, [0, 1, 2]), random_masks(2, [3])
    before = original
    if not is_first:
        save_corrections(folder, "p", first, digest(before), "Ada", image=film)
        before = first
    place = f"paxray_lib.review.corrections.{point}"
    with mock.patch(place, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        save_corrections(folder, "p", second, digest(before), "Ada", image=film)
    there = load_corrections(folder, "p", LABELS)
    if point == "_list":
        assert there == second
    else:
        assert there == (None if is_first else first)
    base = original if there is None else there
    save_corrections(folder, "p", second, digest(base), "Ada", image=film)
    assert load_corrections(folder, "p", LABELS) == second
    assert len(read_datafile(folder).split("train")) == 1


def test_corrections_of_one_film_do_not_appear_on_another(tmp_path, film):
    folder, original = tmp_path / "c", random_masks(0)
    one, two = (film_digest(np.full((8, 9), gray, np.uint8)) for gray in (1, 2))
    save_corrections(folder, "x", random_masks(1), digest(original), "Ada", film=one)
    saved = read_corrections(folder, "x", LABELS, one)
    assert saved.masks == load_corrections(folder, "x", LABELS) == random_masks(1)
    for act in (
        lambda: read_corrections(folder, "x", LABELS, two),
        lambda: save_corrections(folder, "x", original, digest(saved.masks), "Bo", film=two),
    ):
        with pytest.raises(ValueError, match="of another film that was called 'x'; give a file"):
            act()
    with pytest.raises(ValueError, match=r"x\.correction\.json: is of the same film as 'deep/x'"):
        read_corrections(folder, "deep/x", LABELS, one)
    assert read_corrections(folder, "deep/x", LABELS, two) is None
    assert len({film_digest(np.zeros(shape, np.uint8)) for shape in ((2, 3), (3, 2))}) == 2


def test_the_last_stroke_is_that_of_the_masks_which_are_there(tmp_path):
    folder, original = tmp_path / "c", random_masks(0)
    first, second = random_masks(1), random_masks(2)
    save_corrections(folder, "x", first, digest(original), "Ada", stroke="a-1")
    kill = mock.patch("paxray_lib.review.corrections.PackedMasks.write", side_effect=OSError)
    with kill, pytest.raises(OSError, match=r"^$"):
        save_corrections(folder, "x", second, digest(first), "Ada", stroke="a-2")
    assert read_corrections(folder, "x", LABELS) == Saved(first, "a-1")
    save_corrections(folder, "x", second, digest(first), "Ada", stroke="a-2")
    assert read_corrections(folder, "x", LABELS) == Saved(second, "a-2")


def test_masks_that_another_program_changed_are_refused(tmp_path):
    folder, original = tmp_path / "c", random_masks(0)
    path = save_corrections(folder, "x", random_masks(1), digest(original), "Ada")
    random_masks(5).write(path)
    for act in (
        lambda: load_corrections(folder, "x", LABELS),
        lambda: save_corrections(folder, "x", original, digest(random_masks(1)), "Ada"),
    ):
        with pytest.raises(ValueError, match=r"x\.pxm: was changed by another program"):
            act()
    assert PackedMasks.read(path) == random_masks(5)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"masks": 3}', '{"masks": {"known": [99]}, "masks_before": null}']
)
def test_a_damaged_note_is_named(tmp_path, text):
    save_corrections(tmp_path, "x", random_masks(1), "", "Ada")
    (tmp_path / "labels/x.correction.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.correction\.json"):
        load_corrections(tmp_path, "x", LABELS)


@pytest.mark.parametrize("name", ["", "../x", "/x", "x/", "a\0b", "a\nb", "\ud800"])
def test_names_that_lead_away(tmp_path, name):
    with pytest.raises(ValueError, match=r"rename it|leads outside"):
        save_corrections(tmp_path / "c", name, random_masks(0), "", "Ada")
    assert not list(tmp_path.rglob("*.pxm"))


def test_films_and_labels_that_do_not_fit(tmp_path, film):
    folder = tmp_path / "c"
    save_corrections(folder, "x", random_masks(1), "", "Ada", image=film)
    other = write_xray(tmp_path / "x.png", (8, 9))
    with pytest.raises(ValueError, match=r"x\.png: is another film of that name"):
        save_corrections(folder, "x", random_masks(2), digest(random_masks(1)), "Ada", image=other)
    large = write_xray(tmp_path / "y.dcm", (16, 9))
    with pytest.raises(ValueError, match=r"y\.dcm: of \(16, 9\), but its masks are of \(8, 9\)"):
        save_corrections(folder, "y", random_masks(2), "", "Ada", image=large)
    names = LabelSet(["a", "b", "c", "d"])
    with pytest.raises(ValueError, match=r"other labels, without a, b, c \.\.\.; open it anew"):
        save_corrections(folder, "y", PackedMasks(random_masks(2).data, names), "", "Ada")
    assert load_corrections(folder, "x", LABELS) == random_masks(1)
    assert load_corrections(folder, "y", LABELS) is None


def over(masks, names):
    return masks.relabel(LabelSet(names))


def test_masks_of_fewer_and_of_more_labels_are_read_by_name(tmp_path, film):
    more = ["aorta", *LABELS, "rib_left_1"]
    folder, few, many = tmp_path / "c", random_masks(1, [0, 1, 2]), over(random_masks(2), more)
    assert labels_there(folder) is None
    save_corrections(folder, "x", few, "", "Ada", image=film)
    assert load_corrections(folder, "x", many.labels) == over(few, more)
    # nothing is known of what is further: nothing is added
    base = digest(over(few, more))
    save_corrections(folder, "x", many, base, "Ada", image=film)
    assert labels_there(folder) == LABELS
    assert load_corrections(folder, "x", LABELS) == random_masks(2)
    # something is: the others get these labels, too
    wider = replace(many, known=many.known | (np.arange(6) == 5))
    path = save_corrections(folder, "y", wider, "", "Bo", image=film)
    assert labels_there(folder).names == (*LABELS, "aorta", "rib_left_1")
    assert PackedMasks.read(path).labels == labels_there(folder)
    assert load_corrections(folder, "x", LABELS) == random_masks(2)
    with pytest.raises(ValueError, match=r"y\.pxm: has masks of rib_left_1, which are not among"):
        load_corrections(folder, "y", LABELS)
    dataset = PaxrayDataset(folder)
    known = [dataset.masks(k).known.tolist() for k in (0, 1)]
    assert known == [[True] * 4 + [False] * 2, [True] * 4 + [False, True]]
    save_corrections(folder, "x", random_masks(3), digest(random_masks(2)), "Cy", image=film)
    assert load_corrections(folder, "x", LABELS) == random_masks(3)


@pytest.mark.parametrize("point", ["PackedMasks.write", "write_datafile"])
def test_a_kill_while_labels_are_added_leaves_what_can_be_read(tmp_path, film, point):
    names = [*LABELS, "aorta"]
    folder, new = tmp_path / "c", PackedMasks.pack(np.ones((5, 8, 9), bool), LabelSet(names))
    for name in "xy":
        save_corrections(folder, name, random_masks(1, [0, 2]), "", "Ada", image=film)
    place = f"paxray_lib.review.corrections.{point}"
    with mock.patch(place, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        save_corrections(folder, "z", new, "", "Ada", image=film)
    for labels in (LABELS, new.labels):
        assert load_corrections(folder, "x", labels) == random_masks(1, [0, 2]).relabel(labels)
    base = digest(random_masks(1, [0, 2]))
    save_corrections(folder, "x", random_masks(3, [0, 2]), base, "Bo", image=film)
    save_corrections(folder, "z", new, "", "Ada", image=film)
    dataset = PaxrayDataset(folder)
    assert [dataset.masks(k).known.sum() for k in range(3)] == [2, 2, 5]
    assert dataset.masks(0) == random_masks(3, [0, 2]).relabel(new.labels)


def test_a_kill_at_more_labels_leaves_masks_that_are_not_listed(tmp_path):
    few, more = random_masks(1), LabelSet([*LABELS, "aorta"])
    save_corrections(tmp_path, "x", few, "", "Ada")
    new, base = PackedMasks.pack(np.ones((5, 8, 9), bool), more), digest(few.relabel(more))
    kill = mock.patch("paxray_lib.review.corrections.PackedMasks.write", side_effect=OSError)
    with kill, pytest.raises(OSError, match=r"^$"):
        save_corrections(tmp_path, "x", new, base, "Ada")
    assert load_corrections(tmp_path, "x", LABELS) == few
    save_corrections(tmp_path, "x", new, base, "Ada")
    assert labels_there(tmp_path) == more
    assert load_corrections(tmp_path, "x", more) == new


def test_labels_are_added_to_all_masks_or_none_and_only_in_the_folder(tmp_path, film):
    folder, new = tmp_path / "c", PackedMasks.pack(np.ones((1, 8, 9), bool), LabelSet(["aorta"]))
    new = new.relabel(LabelSet([*LABELS, "aorta"]))
    for name in "xy":
        save_corrections(folder, name, random_masks(1), "", "Ada", image=film)
    content = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    last = folder / "labels/y.pxm"
    random_masks(5).write(last)
    with pytest.raises(ValueError, match=r"y\.pxm: was changed by another program; move the masks"):
        save_corrections(folder, "z", new, "", "Ada", image=film)
    assert {path: path.read_bytes() for path in content} == content | {last: last.read_bytes()}
    last.write_bytes(content[last])
    rewrite(folder, lambda data: data["train"][1].update(target="../y.pxm"))
    with pytest.raises(ValueError, match=r"y\.pxm: leads outside"):
        save_corrections(folder, "z", new, "", "Ada", image=film)
    assert all(path.read_bytes() == content[path] for path in content if path.suffix == ".pxm")


def test_what_the_data_file_says_otherwise_stays(tmp_path, film):
    folder = tmp_path / "c"
    save_corrections(folder, "x", random_masks(1), "", "Ada", image=film, split="val")

    def change(content):
        content["license"] = "CC0"
        content["val"][0]["view"] = "lateral"

    rewrite(folder, change)
    for name, base in (("x", digest(random_masks(1))), ("y", "")):
        save_corrections(folder, name, random_masks(2), base, "Ada", image=film)
    data = read_datafile(folder)
    assert data.extra["license"] == "CC0"
    assert [(e.image, e.view) for e in data.split("val")] == [("images/x.png", "lateral")]
    assert [e.image for e in data.split("train")] == ["images/y.png"]


def test_a_folder_of_corrections_is_trained_on(tiny, trained, tmp_path):
    truth = PaxrayDataset(tiny)
    for i in range(3):
        name, masks = truth.image_path(i).stem, truth.masks(i)
        image = truth.image_path(i)
        known = np.arange(len(masks.labels)) > 9
        corrected = masks.knowing(known)
        save_corrections(tmp_path / "c", name, corrected, digest(masks), "Ada", image=image)
    assert not [f for f in check_dataset(tmp_path / "c", "paxray.json") if f.severity == "error"]
    settings = small_training(tiny, tmp_path / "run")
    del settings["data_root"]
    sources = [{"root": str(tiny)}, {"root": str(tmp_path / "c"), "weight": 2}]
    start = str(trained / "checkpoints/best.ckpt")
    run = fit(TrainConfig(**settings | {"data": sources, "init_from": start, "epochs": 1}))
    assert (run / "checkpoints/best.ckpt").is_file()
