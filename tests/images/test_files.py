import os
from pathlib import Path

import pytest

from paxray_lib.images.files import IMAGE_SUFFIXES, OTHER_SUFFIXES, find_images
from paxray_lib.images.read import read_image


def test_find_images_in_a_tree(tmp_path):
    dicom = bytes(128) + b"DICM"
    files = {
        "IMG.PNG": b"", "b/photo.jpeg": b"", "b/a.JPG": b"", "b/c/x.dcm": b"", "b/c/y.DICOM": b"",
        "uid/1.2.840.99": dicom, "uid/noname": dicom, "uid/slice.IMA": dicom,
        "uid/any.thing": dicom,
        "uid/DICOMDIR": dicom, "uid/other": b"text", "uid/3.14": b"",
        "notes.txt": b"text", "m.npy": b"", "t.csv": b"", "m.pxm": b"", "t.csv.gz": b"",
        ".hidden.png": b"", ".cache/z.png": b"", "b/._a.JPG": b"",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == [
        "IMG.PNG", "b/a.JPG", "b/c/x.dcm", "b/c/y.DICOM", "b/photo.jpeg",
        "uid/1.2.840.99", "uid/any.thing", "uid/noname", "uid/slice.IMA",
    ]  # fmt: skip
    assert {Path(name).suffix.lower() for name in found[:5]} == set(IMAGE_SUFFIXES)


@pytest.mark.parametrize("suffix", OTHER_SUFFIXES)
def test_images_of_other_formats_are_found_and_refused_with_a_reason(tmp_path, suffix):
    path = tmp_path / f"X{suffix.upper()}"
    path.write_bytes(b"II*\0" + bytes(500))
    assert find_images(tmp_path) == [path]
    with pytest.raises(
        ValueError, match="not a PNG, JPEG or DICOM image by its content; convert it"
    ):
        read_image(path)


def test_find_images_of_one_file_takes_it_whatever_its_name(tmp_path):
    (tmp_path / "scan.bin").write_bytes(b"x")
    assert find_images(str(tmp_path / "scan.bin")) == [tmp_path / "scan.bin"]


def test_find_images_follows_links_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "real" / "a.png").touch()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "root")
    assert find_images(tmp_path / "root") == [tmp_path / "root" / "link" / "a.png"]


def test_find_images_without_any(tmp_path):
    with pytest.raises(FileNotFoundError, match="no PNG, JPEG or DICOM image"):
        find_images(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder"):
        find_images(tmp_path / "nowhere")


def test_a_list_names_images_in_its_order(tmp_path):
    path = tmp_path / "LIST.TXT"
    path.write_bytes(b"b/x.png\r\na b.dcm\n\nb/x.png\nM\xfcller\n")
    names = ["b/x.png", "a b.dcm", os.fsdecode(b"M\xfcller")]
    assert find_images(path) == list(map(Path, names))
    path.write_text("\n\n")
    with pytest.raises(ValueError, match=r"LIST\.TXT: no image; a list has one path in each line"):
        find_images(path)


def test_a_list_names_each_file_once_whatever_wrote_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "some.txt"
    lines = ("./b.png", "", "c d.png", "b.png", str(tmp_path / "b.png"), "x/../a.png", "c d.png")
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert find_images(path) == [Path("b.png"), Path("c d.png"), Path("x/../a.png")]
    path.write_bytes(b"a\xff.png")
    assert find_images(path) == [Path(os.fsdecode(b"a\xff.png"))]


@pytest.mark.parametrize("content", [b"\n\r\n", "a.png\n".encode("utf-16"), bytes(128) + b"DICM"])
def test_a_list_without_paths_is_refused(tmp_path, content):
    path = tmp_path / "some.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"some\.txt: (no image|not a list)"):
        find_images(path)
