"""A prediction with measurements and thumbnails, of films with and without faults."""

import pytest
from helpers.boxes import boxes
from helpers.threshold_model import Threshold
from helpers.xrays import write_xray
from PIL import Image as PilImage

from paxray_lib.measurement.tables import measure_predictions
from paxray_lib.prediction.predict import predict
from paxray_lib.results.overlays import draw_predictions

NAMES = ("b_pa.png", "a_pa.png", "<script>x_lat.png", "c.png")


@pytest.fixture
def results(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in NAMES:
        PilImage.linear_gradient("L").resize((80, 64)).save(folder / name)
    (folder / "broken.png").write_text("no image")
    write_xray(folder / "zero_pa.dcm", (64, 80), PixelSpacing=[0, 0])
    write_xray(folder / "mm_pa.dcm", (64, 80), PixelSpacing=[2, 2])
    report = predict(Threshold(), folder, out).assign(view="", flags="")
    for output in filter(None, report["output"]):
        boxes().write(out / output)
    measured = measure_predictions(out, report)
    return out, report, measured, draw_predictions(out, report, overlays=False)
