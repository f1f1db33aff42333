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
        ("frontal_of_p1.png", "frontal_of_p1", "frontal"),
        ("frontal/p1.png", "p1", None),
        ("frontal.png", "frontal", "frontal"),
        ("_frontal.png", "_frontal", "frontal"),
        ("hannover_ap_3161e216.png", "hannover_ap_3161e216", "frontal"),
        ("p1_PA.png", "p1", "frontal"),
        ("p1 lat.jpg", "p1", "lateral"),
        ("p1-ap.dcm", "p1", "frontal"),
        ("PA.png", "PA", "frontal"),
        ("lateral-2.png", "lateral-2", "lateral"),
        ("lat/p1.png", "p1", None),
        ("plat_map_papa_p1pa.png", "plat_map_papa_p1pa", None),
        ("p1_pa_lat.png", "p1_pa", None),
        ("pa_and_lateral_1.png", "pa_and_lateral_1", None),
        ("p1_pa_lateral.png", "p1_pa", "lateral"),
        ("p1_ll.png", "p1_ll", None),
    ],
)
def test_case_and_view(path, case, view):
    assert (case_of(path), view_of(path), case_of(Path(path))) == (case, view, case)
