import json

import numpy as np
import pytest
from helpers.sampledata import write_tiny
from helpers.xrays import write_xray

from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.result import image_table
from paxray_lib.labels.table import LABELS, tree_pairs
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.quality import survey as survey_module
from paxray_lib.quality.survey import take_survey


@pytest.fixture(scope="module")
def survey(tiny):
    return take_survey(read_datafile(tiny))


def test_a_survey_has_the_images_in_the_order_of_the_file(tiny, survey):
    data = read_datafile(tiny)
    entries = [(split, entry) for split, items in data.splits.items() for entry in items]
    assert survey.images["image"].tolist() == [entry.image for _, entry in entries]
    assert survey.images["split"].tolist() == [split for split, _ in entries]
    stacks = np.stack([PackedMasks.read(tiny / entry.target).unpack() for _, entry in entries])
    np.testing.assert_array_equal(survey.areas, stacks.sum((2, 3)))
    for k, (child, parent) in enumerate(tree_pairs(LABELS)):
        assert np.array_equal(
            survey.outside[:, k], (stacks[:, child] & ~stacks[:, parent]).sum((1, 2))
        )
    frontal = stacks[survey.of_view("frontal")]
    assert survey.shared["frontal"][3, 9] == (frontal[:, 3] & frontal[:, 9]).sum()
    assert not survey.shared["unknown"].any()
    assert survey.findings == []


def test_the_view_of_an_image_that_its_header_alone_says(tmp_path):
    write_tiny(tmp_path)
    content = json.loads((tmp_path / "paxray.json").read_text())
    for number, tags in enumerate(({"ViewPosition": "PA"}, {"ViewPosition": "LL"}, {})):
        write_xray(tmp_path / f"images/{number}.dcm", (48, 48), **tags)
        content["test"][number]["image"] = f"images/{number}.dcm"
    (tmp_path / "paxray.json").write_text(json.dumps(content))
    test, found = PaxrayDataset(tmp_path, split="test"), take_survey(read_datafile(tmp_path))
    views = ["frontal", "lateral", None, "lateral"]
    assert [entry.view for entry in test.entries] == [None, None, None, "lateral"]
    assert [test.datafile.view(entry) for entry in test.entries] == views
    assert [sample.view for sample in test] == views
    images = found.images[found.images["split"] == "test"]
    assert images["view"].fillna("unknown").tolist() == ["frontal", "lateral", "unknown", "lateral"]
    assert [(f.where, f.message.partition(":")[0]) for f in found.findings] == [
        ("images/2.dcm", "unknown view")
    ]
    assert image_table(test)["view"].tolist() == ["frontal", "lateral", "unknown", "lateral"]


def test_fingerprints_are_those_of_the_pixels(survey):
    assert survey.images["image_hash"].is_unique
    assert survey.images["mask_hash"].is_unique


def test_memory_is_bounded_and_its_lack_is_a_finding(tiny, monkeypatch):
    data = read_datafile(tiny)
    with monkeypatch.context() as patch:
        patch.setattr(survey_module, "MAX_AREAS", 14 * len(LABELS) - 1)
        with pytest.raises(ValueError, match=r"paxray\.json: 14 images of 166 labels, more than"):
            take_survey(data)

    def exhausted(path):
        raise MemoryError

    monkeypatch.setattr(survey_module, "read_image", exhausted)
    found = take_survey(data).findings
    assert {finding.message for finding in found} == {"not enough memory to read it"}
    assert len(found) == 14
