"""Reading PNG and JPEG. DICOM: test_dicom.py."""

import shutil
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from helpers.pixels import same
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from paxray_lib.images.files import find_images
from paxray_lib.images.image import MAX_PIXELS
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import read_image, write_png


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def png_bytes(array, color_type, depth=16, extra=b""):
    """Write a PNG by hand: (H, W) or (H, W, C) unsigned, big endian samples."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    height, width = array.shape[:2]
    rows = array.astype(">u2" if depth == 16 else "u1").reshape(height, -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def pillow_gray(rgb):
    return np.asarray(PillowImage.fromarray(rgb).convert("L"))


# ---------------------------------------------------------------- PNG


def test_png_gray_8(tmp_path, rng):
    array = rng.integers(0, 256, (30, 42), dtype=np.uint8)
    PillowImage.fromarray(array).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    same(image.pixels, array, 255)
    assert (image.spacing_mm, image.view) == (None, None)


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("RGBA", 4)])
def test_png_color_8_has_pillows_gray_and_ignores_alpha(tmp_path, rng, mode, channels):
    array = rng.integers(0, 256, (30, 42, channels), dtype=np.uint8)
    PillowImage.fromarray(array, mode=None).save(tmp_path / "x.png")
    same(read_image(tmp_path / "x.png").pixels, pillow_gray(array[..., :3].copy()), 255)


def test_png_gray_with_alpha_8(tmp_path, rng):
    array = rng.integers(0, 256, (30, 42, 2), dtype=np.uint8)
    (tmp_path / "x.png").write_bytes(png_bytes(array, 4, 8))
    same(read_image(tmp_path / "x.png").pixels, array[..., 0], 255)


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(256))])
def test_png_palette_with_and_without_transparency(tmp_path, rng, transparency):
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    index = rng.integers(0, 256, (30, 42), dtype=np.uint8)
    image = PillowImage.fromarray(index).convert("P")
    image.putdata(index.ravel().tolist())
    image.putpalette(palette.ravel().tolist())
    image.save(
        tmp_path / "x.png", **({} if transparency is None else {"transparency": transparency})
    )
    same(read_image(tmp_path / "x.png").pixels, pillow_gray(palette[index]), 255)


def test_png_1_bit(tmp_path, rng):
    array = rng.random((30, 42)) < 0.5
    PillowImage.fromarray(array).save(tmp_path / "x.png")
    same(read_image(tmp_path / "x.png").pixels, array, 1)


def test_png_4_bit_spans_the_range(tmp_path):
    body = np.arange(16, dtype=np.uint8)
    packed = (body[0::2] << 4 | body[1::2])[None]
    data = bytearray(png_bytes(packed, 0, 8))
    data[16:29] = struct.pack(">IIBBBBB", 16, 1, 4, 0, 0, 0, 0)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "x.png").write_bytes(data)
    same(read_image(tmp_path / "x.png").pixels, body[None] * 17, 255)


def test_png_gray_16_is_not_clipped(tmp_path, rng):
    array = rng.integers(0, 65536, (30, 42), dtype=np.uint16)
    PillowImage.fromarray(array).save(tmp_path / "x.png")
    pixels = read_image(tmp_path / "x.png").pixels
    same(pixels, array, 65535)
    assert len(np.unique(pixels)) == len(np.unique(array)) > 1000


@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)])
@pytest.mark.parametrize(
    "gamma", [b"", struct.pack(">I", 4) + b"gAMA" + struct.pack(">II", 45455, 0x0BFC6105)]
)
def test_png_16_of_every_color_type_keeps_all_bits(tmp_path, rng, color_type, channels, gamma):
    array = rng.integers(0, 65536, (30, 42, channels), dtype=np.uint16)
    (tmp_path / "x.png").write_bytes(png_bytes(array, color_type, 16, gamma))
    wide = array.astype(np.int64)
    gray = wide[..., 0] if channels < 3 else (wide[..., :3] @ [19595, 38470, 7471] + 32768) // 65536
    same(read_image(tmp_path / "x.png").pixels, gray, 65535)


@pytest.mark.parametrize(
    ("highest", "full"),
    [
        *((1, 255), (255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095)),
        *((4096, 16383), (16383, 16383), (16384, 65535), (65535, 65535)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_fewer_bits_in_16_bit_are_spread_over_the_range(tmp_path, rng, highest, full, channels):
    array = rng.integers(0, highest + 1, (30, 42, 1), dtype=np.uint16)
    array[3, 4] = highest
    (tmp_path / "x.png").write_bytes(
        png_bytes(np.repeat(array, channels, axis=2), 0 if channels == 1 else 2)
    )
    same(read_image(tmp_path / "x.png").pixels, array[..., 0], full)


def test_16_bit_color_that_is_gray_equals_gray(tmp_path):
    gray = np.arange(0, 65536, 13, dtype=np.uint16)[:5000].reshape(50, 100)
    (tmp_path / "x.png").write_bytes(png_bytes(np.stack([gray] * 3, -1), 2))
    same(read_image(tmp_path / "x.png").pixels, gray, 65535)


# ---------------------------------------------------------------- JPEG and orientation


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(tmp_path, mode):
    gradient = np.linspace(10, 240, 64 * 96).reshape(64, 96).astype(np.uint8)
    PillowImage.fromarray(gradient).convert("RGB").convert(mode).save(
        tmp_path / "x.jpg", quality=95
    )
    pixels = read_image(tmp_path / "x.jpg").pixels
    assert pixels.shape == (64, 96)
    np.testing.assert_allclose(pixels * 255, gradient, atol=4)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation):
    # Four flat corners tell all eight orientations apart, and survive JPEG.
    upright = np.kron(
        np.array([[0, 85, 90], [170, 200, 255]], np.uint8), np.ones((16, 16), np.uint8)
    )
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    image = PillowImage.fromarray(np.ascontiguousarray(stored))
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"x.{suffix}", exif=exif, quality=100)
    pixels = read_image(tmp_path / f"x.{suffix}").pixels
    assert pixels.flags.c_contiguous
    np.testing.assert_allclose(pixels * 255, upright, atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_16_bit(tmp_path, rng, orientation):
    array = rng.integers(0, 65536, (30, 42), dtype=np.uint16)
    small = PillowImage.fromarray((array >> 8).astype(np.uint8))
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    small.save(tmp_path / "small.png", exif=exif)
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + body
    chunk = struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "wide.png").write_bytes(png_bytes(array, 0, 16, chunk))
    wide = read_image(tmp_path / "wide.png").pixels
    assert wide.flags.c_contiguous
    assert wide.flags.writeable
    np.testing.assert_array_equal(
        np.round(wide * 65535).astype(int) >> 8,
        np.round(read_image(tmp_path / "small.png").pixels * 255),
    )


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_invalid_exif_orientation_is_ignored(tmp_path, orientation):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    PillowImage.fromarray(array).save(tmp_path / "x.png", exif=exif)
    same(read_image(tmp_path / "x.png").pixels, array, 255)


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("name", ["gray.png", "wide.png", "rgb16.png", "x.jpg"])
def test_cut_short_names_the_file(tmp_path, rng, name, kept):
    array = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    path = tmp_path / name
    wide = array.astype(np.uint16) * 257
    images = {
        "gray.png": array[..., 0],
        "wide.png": wide[..., 0],
        "rgb16.png": wide,
        "x.jpg": array,
    }
    cv2.imwrite(str(path), images[name])
    data = path.read_bytes()
    path.write_bytes(data[: max(20, int(len(data) * kept))])
    with pytest.raises(ValueError, match=rf"{name}: damaged or cut short (PNG|JPEG)"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"This is a text file, and no image at all.\n" * 20, "not a PNG, JPEG or DICOM"),
        (b"BM" + bytes(500), "not a PNG, JPEG or DICOM"),
        (bytes(5000), "not a PNG, JPEG or DICOM"),
        (b"\x08", "not a PNG, JPEG or DICOM"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut short PNG"),
        (b"\xff\xd8\xff", "damaged or cut short JPEG"),
        (bytes(128) + b"DICM", "DICOM that cannot be read"),
        (bytes(128) + b"DICM" + b"junk" * 99, "DICOM that cannot be read"),
    ],
)
def test_other_content_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "patient7.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"patient7.png: .*{message}") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "dtype"), [(0, np.uint8), (255, np.uint8), (0, np.uint16), (900, np.uint16)]
)
def test_an_image_of_one_value_is_refused(tmp_path, value, dtype):
    PillowImage.fromarray(np.full((4, 5), value, dtype)).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match=r"black\.png: every pixel has one value"):
        read_image(tmp_path / "black.png")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png: no such file"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="a folder"):
        read_image(tmp_path)


def test_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    data = bytearray(png_bytes(np.zeros((1, 1), np.uint8), 0, 8))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(
        ValueError, match=rf"bomb.png: 60000 x 60000 pixels, more than the limit of {MAX_PIXELS}"
    ):
        read_image(tmp_path / "bomb.png")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_give_an_image_or_one_clear_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    array = (np.add.outer(np.arange(20), np.arange(24)) * 5).astype(np.uint8)
    name = data.draw(st.sampled_from(["x.png", "x.jpg"]))
    PillowImage.fromarray(array).save(folder / name)
    content = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(content)
    try:
        pixels = read_image(folder / name).pixels
    except ValueError as error:
        message = str(error)
    else:
        message = f"{folder / name}"
        if name == "x.png":  # every byte is under a checksum
            same(pixels, array, 255)
        assert pixels.ndim == 2
        assert 0 <= pixels.min() <= pixels.max() <= 1
    assert str(folder / name) in message


# ---------------------------------------------------------------- content, name and spacing


def test_content_over_suffix(tmp_path, rng):
    array = rng.integers(0, 256, (30, 42), dtype=np.uint8)
    PillowImage.fromarray(array).save(tmp_path / "x.png")
    for name in ("y.jpg", "y.dcm", "y.txt", "y"):
        shutil.copy(tmp_path / "x.png", tmp_path / name)
        same(read_image(tmp_path / name).pixels, array, 255)


def test_view_reaches_the_image(tmp_path):
    PillowImage.linear_gradient("L").save(tmp_path / "c1lateral.png")
    assert read_image(tmp_path / "c1lateral.png").view == "lateral"


def test_spacing_of_a_written_png(tmp_path):
    pixels, path = np.arange(12, dtype=np.uint8).reshape(3, 4), tmp_path / "a.png"
    write_png(path, pixels, 0.703125)
    image = read_image(path)
    assert image.spacing_mm == (0.703125, 0.703125)
    assert np.array_equal(image.pixels, pixels / np.float32(255))


@pytest.mark.parametrize(
    "text", ["0.7 at 6 x 8", "0.0 at 3 x 4", "0.7", "-0.7 at 3 x 4", "nan at 3 x 4"]
)
def test_spacing_is_not_taken_from_dots_per_inch_or_from_a_png_that_was_resized(tmp_path, text):
    info = PngInfo()
    info.add_text("paxray:pixel_mm", text)
    image = PillowImage.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    image.save(tmp_path / "a.png", dpi=(72, 72), pnginfo=info)
    assert read_image(tmp_path / "a.png").spacing_mm is None


def test_images_and_masks_import_no_heavy_library():
    heavy = ["pydicom", "highdicom", "torch", "pandas", "matplotlib", "scipy", "pycocotools"]
    program = "import sys, paxray_lib.images, paxray_lib.masks, paxray_lib.data.dataset\n"
    program += f"print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


# ---------------------------------------------------------------- real X-rays


def test_real_xrays_are_upright_with_light_bone_on_dark_lung(real_data):
    paths = find_images(real_data / "cxr")
    assert len(paths) == 10
    for path in paths:
        assert_shown_right(path)


def assert_shown_right(path):
    image = read_image(path)
    height, width = image.pixels.shape
    if path.suffix in (".jpg", ".png"):
        with PillowImage.open(path) as stored:
            assert stored.size == (width, height), path.name
    small = Preprocessing("standard", (100, 100)).resize(image.pixels)
    if "lateral" in path.name:
        spine_side_lung, soft_below = small[55:70, 45:60].mean(), small[85:95, 35:60].mean()
        assert soft_below > spine_side_lung + 0.1, path.name
        return
    middle = small[35:55].mean(axis=0)  # across heart level
    right_lung, left_lung = (
        np.sort(middle[part])[:10].mean() for part in (slice(20, 45), slice(63, 85))
    )
    assert middle[48:62].mean() > max(right_lung, left_lung) + 0.1, path.name
    # abdomen; shoulder and apex
    assert small[80:92, 25:45].mean() > small[8:20, 25:45].mean(), path.name


def test_what_pillow_warns_of_is_not_shown(tmp_path):
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0\x0f\1\2\0\xff\0\0\0\xf0\xff\0\0"  # beyond its end
    pixels = np.arange(1200, dtype=np.uint16).astype(np.uint8).reshape(30, 40)
    PillowImage.fromarray(pixels).save(tmp_path / "x.jpg", exif=exif)
    assert read_image(tmp_path / "x.jpg").pixels.shape == (30, 40)
