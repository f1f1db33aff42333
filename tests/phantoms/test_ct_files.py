"""A phantom written as a CT is read and projected like a real one."""

import numpy as np
import pytest

from paxray_lib.ct.project import project_scan
from paxray_lib.ct.scan import read_scan
from paxray_lib.phantoms.ct_files import write_phantom_ct


@pytest.fixture(scope="module")
def projected(tmp_path_factory):
    ct, segmentation = write_phantom_ct(tmp_path_factory.mktemp("phantom"), size=96)
    scan = read_scan(ct, segmentation)
    return scan, project_scan(scan, 96)


def test_files_are_in_true_orientation(projected):
    scan, _ = projected
    assert scan.facts["axes"] == "LPI"
    assert scan.facts["names"] == "phantom_seg_labels.tsv"
    assert not scan.facts["values_without_name"]
    assert scan.hu.dtype == np.int16


def test_almost_all_labels_are_there(projected):
    _, result = projected
    for _, masks in result.views.values():
        assert (masks.counts() > 0).sum() >= 140
    assert "heart" not in result.absent
    assert "aorta_arch" not in result.absent
    assert "mediastinum_upper" not in result.absent
