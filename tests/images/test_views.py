from pathlib import Path

import pytest

from paxray_lib.images.views import case_of, view_of


@pytest.mark.parametrize(
    ("path", "case", "view"),
    [
        ("images/RibFrac12frontal.png", "RibFrac12", "frontal"),
        ("labels/RibFrac12lateral.npy", "RibFrac12", "lateral"),
        ("a/p_1_Frontal.PNG", "p_1", "frontal"),
        ("p-1-LATERAL.dcm", "p-1", "lateral"),
        ("plain.png", "plain", None),
        ("frontal_of_p1.png", "frontal_of_p1", None),
        ("frontal/p1.png", "p1", None),
        ("frontal.png", "frontal", "frontal"),
        ("_frontal.png", "_frontal", "frontal"),
    ],
)
def test_case_and_view(path, case, view):
    assert (case_of(path), view_of(path), case_of(Path(path))) == (case, view, case)
