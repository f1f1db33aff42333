import json

import pytest
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.strokes import MaskEditor
from paxray_lib.viewer.sources import from_dataset
from paxray_lib.viewer.widget import LabelViewer

HEART = LABELS.index("heart")[0]


@pytest.fixture
def records(tiny):
    """Strokes on two films, as a page without a kernel hands them out."""
    films = LabelViewer.browse(PaxrayDataset(tiny), editable=True)
    common = {"label": HEART, "name": "heart", "mode": "add", "size": 160, "points": [[400, 300]]}
    return [
        {"id": f"page-{k}", "image": films._source.names[position], **common}
        | {"film": films._message(position)["film"]}
        | ({"mode": "undo"} if k == 1 else {})
        for k, position in enumerate((2, 2, 2, 5))
    ]


def run(tiny, tmp_path, records, code=0):
    (tmp_path / "strokes.json").write_text(json.dumps(records))
    command = ["import", "strokes", str(tmp_path / "strokes.json"), "--data-root", str(tiny)]
    command += ["--out", str(tmp_path / "corrected"), "--who", "Ada"]
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, command)
    assert result.exit_code == code, result.output
    return result.output


def test_downloaded_strokes_become_corrections_once(tiny, tmp_path, records):
    assert "2 corrected, 0 failed" in run(tiny, tmp_path, records)
    truth, saved = PaxrayDataset(tiny), PaxrayDataset(tmp_path / "corrected")
    assert [one.name for one in saved] == [records[0]["image"], records[3]["image"]]
    for masks, position, own in ((saved[0], 2, records[:3]), (saved[1], 5, records[3:])):
        editor = MaskEditor(truth[position].masks)
        for record in own:
            editor.apply(record)
        assert masks.masks == editor.masks != truth[position].masks
    about = tmp_path / f"corrected/labels/{records[0]['image']}.correction.json"
    before = about.read_text()
    assert json.loads(before)["who"] == "Ada"
    assert "2 corrected" in run(tiny, tmp_path, records)  # there is nothing left to do
    assert about.read_text() == before


def test_an_image_that_fails_is_listed_and_the_others_are_saved(tiny, tmp_path, records):
    source = from_dataset(PaxrayDataset(tiny))
    wrong = [
        {**records[0], "id": "a", "image": "nobody"},
        {**records[0], "id": "b", "image": source.names[0]},  # with the pixels of another film
        {**records[3], "id": "c", "name": "aorta"},
    ]
    output = run(tiny, tmp_path, [*records[:3], *wrong], code=1)
    assert "1 corrected, 3 failed" in output
    for words in (
        "nobody: no image is called that",
        "another film",
        "aorta, but label 17 is heart",
    ):
        assert words in output
    assert len(PaxrayDataset(tmp_path / "corrected")) == 1


@pytest.mark.parametrize("content", [[], {}, 3, [3], [{"id": "a"}], [{"image": 3}]])
def test_a_file_without_strokes_is_named(tiny, tmp_path, content):
    assert "strokes.json: " in run(tiny, tmp_path, content, code=2)
    assert not (tmp_path / "corrected").exists()
