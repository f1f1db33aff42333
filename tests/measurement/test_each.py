"""Films one after another, without files: the same as what `predict` writes."""

import itertools
import json

import numpy as np
import pytest
from helpers.threshold_model import Threshold
from helpers.xrays import write_xray
from PIL import Image

from paxray_lib import predict, predict_each
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.measurement.lines import json_lines
from paxray_lib.measurement.tables import measure_predictions


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(("a.png", "bfrontal.png", "dlateral.png")):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 50), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "cfrontal.png").write_text("no image")
    write_xray(folder / "e.dcm", (30, 20), PixelSpacing=[0.2, 0.3])
    return folder


@pytest.mark.parametrize("batch_size", [1, 2, 9])
def test_films_are_what_predict_writes_in_order_with_failures_in_their_place(
    images, tmp_path, batch_size
):
    films = list(predict_each(Threshold(), images, batch_size=batch_size, labels=["heart", "ribs"]))
    out = tmp_path / "out"
    report = predict(Threshold(), images, out, labels=["heart", "ribs"])
    assert [film.file for film in films] == report["file"].tolist()
    for film, row in zip(films, report.itertuples(), strict=True):
        assert (film.problem or film.note, film.view or "") == (row.reason, row.view)
        assert " ".join(film.flags) == row.flags
        if film.masks is None:
            assert row.status == "failed"
            assert film.measurements == {}
        else:
            assert film.masks == PackedMasks.read(out / row.output)
            assert film.masks.shape[1:] == (row.height, row.width)
    assert films[-1].spacing_mm == (0.2, 0.3)
    assert {path.name for path in tmp_path.iterdir()} == {"images", "out"}


def test_measurements_are_those_of_the_table_and_none_for_flagged_films(images, tmp_path):
    model, options = Threshold(), {"view": "frontal", "spacing_mm": 0.5}
    flagged = [film for film in predict_each(model, images, **options) if film.flags]
    assert len(flagged) == 4
    assert all(film.measurements == {} for film in flagged)
    # without a mediastinum nothing can be told of a film
    model.labels = LabelSet(name.replace("mediastinum_overall", "middle") for name in LABELS)
    report = predict(model, images, tmp_path / "out", view="frontal")
    table = measure_predictions(tmp_path / "out", report, **options)
    films = list(predict_each(model, images, **options))
    assert [len(film.measurements) > 9 for film in films] == [True, True, False, True, True]
    for film, (_, row) in zip(films, table.iterrows(), strict=True):
        for name, value in film.measurements.items():
            assert value == pytest.approx(row[name], nan_ok=True)
    assert films[0].spacing_mm == (0.5, 0.5)


def test_paths_may_come_from_a_generator_without_an_end(images):
    asked = []

    def endless():
        for number in itertools.count():
            asked.append(number)
            yield images / "a.png"

    films = predict_each(Threshold(), endless())
    assert next(films).masks == next(films).masks
    films.close()
    assert len(asked) < 20


def test_what_is_wrong_is_said_at_once(images, tmp_path):
    for wrong in ({"threshold": 2}, {"view": "front"}, {"labels": "hart"}, {"spacing_mm": 99}):
        with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
            predict_each(Threshold(), images, **wrong)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        predict_each(Threshold(), tmp_path / "nowhere")


def test_a_film_whose_logits_are_no_numbers_is_one_problem(images):
    class Broken(Threshold):
        def coarse(self, images):
            logits = super().coarse(images)
            logits[images.mean((1, 2, 3)) > 0.5] = float("nan")
            return logits

    Image.fromarray(np.arange(155, 255, dtype=np.uint8).reshape(10, 10)).save(images / "white.png")
    problems = [film.problem for film in predict_each(Broken(), images)]
    assert [bool(problem) for problem in problems] == [False, False, True, False, False, True]
    assert "white.png: the network's output is not finite" in problems[-1]


def test_lines_of_json_say_what_the_tables_say(images, tmp_path):
    out = tmp_path / "out"
    report = predict(Threshold(), images, out, view="frontal")
    table = measure_predictions(out, report, view="frontal", doubtful=True)
    lines = list(json_lines(out, report, table))
    films = [json.loads(line) for line in lines]
    assert all(line.isascii() and "\n" not in line for line in lines)
    assert [film["file"] for film in films] == report["file"].tolist()
    by_name = {film["file"].rpartition("/")[2]: film for film in films}
    failed, good = by_name["cfrontal.png"], by_name["e.dcm"]
    assert (failed["status"], failed["output"], failed["height"]) == ("failed", None, None)
    assert "not a PNG" in failed["reason"]
    assert failed["measurements"] == {}
    assert (good["height"], good["width"], good["spacing_mm"]) == (30, 20, [0.2, 0.3])
    assert PackedMasks.read(good["output"]).shape == (166, 30, 20)
    for name, value in good["measurements"].items():
        (expected,) = table.loc[table["file"] == good["file"], name]
        assert value == expected or (value is None and np.isnan(expected))
    flagged = [film for film in films if film["flags"]]
    assert flagged
    assert isinstance(flagged[0]["flags"], list)
