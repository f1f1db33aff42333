"""Views of images by a table."""

import pytest
from PIL import Image

from paxray_lib.prediction.views import read_views


@pytest.fixture
def images(tmp_path):
    for name in ("a.png", "deep/b.png", "deep/a.png", "deep/c 1.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").save(tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture
def read(images, tmp_path):
    def read(text, encoding="utf-8"):
        (tmp_path / "views.csv").write_bytes(text.encode(encoding))
        views = read_views(tmp_path / "views.csv", images, tmp_path / "out")
        return {file.removeprefix(f"{images}/"): view for file, view in views.items()}

    return read


@pytest.mark.parametrize(
    ("word", "view"),
    [
        *[(word, "frontal") for word in ("frontal", "PA", "ap", " Frontal ")],
        *[(word, "lateral") for word in ("lateral", "LAT", "ll", "RL")],
    ],
)
def test_words_for_views(read, word, view):
    assert read(f"image,view\nb.png,{word}\n") == {"deep/b.png": view}


def test_images_by_path_and_by_name(read, images):
    text = f"view,age,image\r\nPA,7,a.png\r\nlat,8,deep/a.png\r\nAP,9,{images}/deep/b.png\r\n"
    with pytest.raises(
        ValueError, match=r"line 2: image 'a\.png': .* is 2 of them; write its path"
    ):
        read(text)
    text = text.replace("PA,7,a.png", ',7,"c 1.png"')
    assert read(text) == {"deep/a.png": "lateral", "deep/b.png": "frontal"}
    assert read(text, "utf-8-sig") == read(text)


def test_outputs_of_an_earlier_run_are_no_images(images):
    (images / "manifest.jsonl").write_text('{"output": "deep/a.png", "sources": {}}\n')
    (images.parent / "views.csv").write_text("image,view\na.png,PA\n")
    assert read_views(images.parent / "views.csv", images, images) == {f"{images}/a.png": "frontal"}


def test_of_a_single_image(images):
    (images.parent / "views.csv").write_text("image,view\na.png,PA\n")
    image = images / "a.png"
    assert read_views(images.parent / "views.csv", image, "out") == {str(image): "frontal"}
