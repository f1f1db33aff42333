"""DICOM through `read_image`: transfer syntaxes, intensities, spacing, view, what is refused."""

import io
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    generate_uid,
)

from paxray_lib.images.dicom import looks_like_dicom
from paxray_lib.images.read import read_image

HEIGHT, WIDTH = 48, 70
LOSSLESS = [
    "RLELossless",
    "JPEGLosslessProcess14",
    "JPEGLosslessProcess14_1",
    "JPEGLSLossless",
    "JPEG2000Lossless",
    "ImplicitVRLittleEndian",
    "ExplicitVRBigEndian",
    "DeflatedExplicitVRLittleEndian",
]
LOSSY = ["JPEGBaselineProcess1", "JPEGExtendedProcess2_4", "JPEGLSNearLossless", "JPEG2000"]


def stored_values(bits, dtype=np.uint16):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    smooth = (np.sin(y / 9) + np.cos(x / 13) + 2) / 4
    return np.round(smooth * (2**bits - 1)).astype(np.uint8 if bits == 8 else dtype)


def write(path, array, photometric="MONOCHROME2", bits=None, **tags):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = "DX"
    dataset.set_pixel_data(array, photometric, bits or array.dtype.itemsize * 8)
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def transcode(source, target, syntax):
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target


def unit(array):
    low, high = int(array.min()), int(array.max())
    return (array.astype(np.float64) - low) / (high - low)


def close(pixels, wanted, atol=1e-6):
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    np.testing.assert_allclose(pixels, wanted, atol=atol)


# ---------------------------------------------------------------- transfer syntaxes


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_syntaxes_keep_every_value(tmp_path, syntax, bits):
    array = stored_values(bits)
    path = transcode(write(tmp_path / "plain.dcm", array, bits=bits), tmp_path / "x.dcm", syntax)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == gdcm.TransferSyntax.GetTSString(
        getattr(gdcm.TransferSyntax, syntax)
    )
    close(read_image(path).pixels, unit(array))
    close(read_image(tmp_path / "plain.dcm").pixels, unit(array))


@pytest.mark.parametrize("syntax", LOSSY)
def test_lossy_syntaxes_stay_near(tmp_path, syntax):
    array = stored_values(8)
    path = transcode(write(tmp_path / "plain.dcm", array), tmp_path / "x.dcm", syntax)
    close(read_image(path).pixels, unit(array), atol=0.03)


def test_signed_values(tmp_path):
    array = stored_values(12).astype(np.int16) - 2000
    close(read_image(write(tmp_path / "x.dcm", array)).pixels, unit(array))


@pytest.mark.parametrize(
    "syntax", [None, "RLELossless", "JPEG2000Lossless", "JPEGLosslessProcess14_1"]
)
def test_color_becomes_gray(tmp_path, syntax):
    array = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    path = write(tmp_path / "plain.dcm", array, "RGB")
    if syntax:
        path = transcode(path, tmp_path / "x.dcm", syntax)
    gray = (array.astype(np.int64) @ [19595, 38470, 7471] + 32768) // 65536
    close(read_image(path).pixels, gray / 255)


def test_color_jpeg_is_not_taken_for_rgb(tmp_path):
    gray = stored_values(8)
    dataset = pydicom.dcmread(write(tmp_path / "x.dcm", np.stack([gray] * 3, -1), "RGB"))
    encoded = io.BytesIO()
    PillowImage.fromarray(gray).convert("RGB").save(encoded, "JPEG", quality=95)
    dataset.PixelData = encapsulate([encoded.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.save_as(tmp_path / "x.dcm")
    close(read_image(tmp_path / "x.dcm").pixels, gray / 255, atol=0.03)


# ---------------------------------------------------------------- intensities


def test_monochrome1_is_inverted(tmp_path):
    array = stored_values(12)
    close(read_image(write(tmp_path / "x.dcm", array, "MONOCHROME1", 12)).pixels, 1 - unit(array))


def test_an_image_of_one_value_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"x\.dcm: every pixel has one value"):
        read_image(write(tmp_path / "x.dcm", np.full((4, 5), 99, np.uint16)))


def window_oracle(x, center, width, function):
    """DICOM PS3.3 C.11.2.1.2.1 and C.11.2.1.3, one value at a time, onto 0..1."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(min(-4 * (x - center) / width, 700)))
    if function == "LINEAR_EXACT":
        c, w = center, width
    else:
        c, w = center - 0.5, width - 1
    if x <= c - w / 2:
        return 0
    if x > c + w / 2:
        return 1
    return (x - c) / w + 0.5


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2000, 1500), (100.5, 7.25), (2000, 1)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_window_after_rescale(tmp_path, function, center, width, photometric):
    array = stored_values(12)
    tags = {"VOILUTFunction": function} if function else {}
    tags |= {"RescaleSlope": 2, "RescaleIntercept": -100, "RescaleType": "US"}
    tags |= {"WindowCenter": center, "WindowWidth": width}
    path = write(tmp_path / "x.dcm", array, photometric, 12, **tags)
    wanted = np.vectorize(window_oracle, otypes=[float])(array * 2.0 - 100, center, width, function)
    close(read_image(path).pixels, 1 - wanted if photometric == "MONOCHROME1" else wanted)


def test_first_of_several_windows(tmp_path):
    array = stored_values(12)
    one = write(tmp_path / "one.dcm", array, bits=12, WindowCenter=1000, WindowWidth=800)
    two = write(tmp_path / "two.dcm", array, bits=12, WindowCenter=[1000, 9], WindowWidth=[800, 9])
    close(read_image(two).pixels, read_image(one).pixels)


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 5},
        {"WindowCenter": 5, "WindowWidth": 0},
        {"WindowWidth": 9},
        {"WindowCenter": None, "WindowWidth": None},
    ],
)
def test_unusable_window_gives_the_own_range(tmp_path, window):
    array = stored_values(12)
    close(read_image(write(tmp_path / "x.dcm", array, bits=12, **window)).pixels, unit(array))


def lookup_table(first, values, bits):
    table = pydicom.Dataset()
    table.LUTDescriptor = [len(values), first, bits]
    table.LUTData = list(values)
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    return table


def test_voi_table_wins_over_window(tmp_path):
    array = stored_values(12)
    curve = np.round(1023 * np.linspace(0, 1, 4096) ** 2).astype(int)
    tags = {
        "VOILUTSequence": Sequence([lookup_table(0, curve.tolist(), 10)]),
        "WindowCenter": 9,
        "WindowWidth": 9,
    }
    close(read_image(write(tmp_path / "x.dcm", array, bits=12, **tags)).pixels, curve[array] / 1023)


def test_modality_table(tmp_path):
    array = stored_values(12)
    curve = np.arange(4096)[::-1] * 3 + 7
    table = lookup_table(0, curve.tolist(), 16)
    table.ModalityLUTType = "US"
    path = write(tmp_path / "x.dcm", array, bits=12, ModalityLUTSequence=Sequence([table]))
    close(read_image(path).pixels, unit(curve[array]))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("limit", [None, 4090])
def test_padding_is_black_and_not_part_of_the_range(tmp_path, photometric, limit):
    array = stored_values(12) // 2 + 100
    measured = unit(array)
    array[:, :9] = 4095
    array[:, 3:5] = 4095 if limit is None else 4092
    tags = {"PixelPaddingValue": 4095} | (
        {} if limit is None else {"PixelPaddingRangeLimit": limit}
    )
    pixels = read_image(write(tmp_path / "x.dcm", array, photometric, 12, **tags)).pixels
    inside = array[:, 9:]
    wanted = unit(inside)
    assert np.ptp(measured) == 1
    close(pixels[:, 9:].copy(), 1 - wanted if photometric == "MONOCHROME1" else wanted)
    assert not pixels[:, :9].any()


def test_a_padding_value_that_every_pixel_has_is_none(tmp_path):
    limits = {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}
    close(
        read_image(write(tmp_path / "x.dcm", stored_values(12), bits=12, **limits)).pixels,
        unit(stored_values(12)),
    )


# ---------------------------------------------------------------- spacing and view


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ({"PixelSpacing": [0.2, 0.3]}, (0.2, 0.3)),
        ({"ImagerPixelSpacing": [0.14, 0.15]}, (0.14, 0.15)),
        ({"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [0.14, 0.15]}, (0.2, 0.3)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.14, 0.15]}, (0.14, 0.15)),
        ({"PixelSpacing": None}, None),
        ({}, None),
    ],
)
def test_spacing(tmp_path, tags, wanted):
    assert read_image(write(tmp_path / "x.dcm", stored_values(8), **tags)).spacing_mm == wanted


@pytest.mark.parametrize(
    ("name", "tags", "wanted"),
    [
        ("x", {"ViewPosition": "PA"}, "frontal"),
        ("x", {"ViewPosition": "AP"}, "frontal"),
        ("x", {"ViewPosition": "LL"}, "lateral"),
        ("x", {"ViewPosition": "RL"}, "lateral"),
        ("x", {"ViewPosition": "LATERAL"}, "lateral"),
        ("x", {"ViewPosition": "LLO"}, None),
        ("x", {"PatientOrientation": ["L", "F"]}, "frontal"),
        ("x", {"ViewPosition": "", "PatientOrientation": ["A", "F"]}, "lateral"),
        ("x", {"PatientOrientation": None}, None),
        ("x", {}, None),
        ("c1frontal", {}, "frontal"),
        ("c1frontal", {"ViewPosition": "LL"}, "lateral"),
    ],
)
def test_view(tmp_path, name, tags, wanted):
    assert read_image(write(tmp_path / f"{name}.dcm", stored_values(8), **tags)).view == wanted


# ---------------------------------------------------------------- what is refused, and odd files


@pytest.mark.parametrize("syntax", [None, *LOSSLESS, "JPEGBaselineProcess1"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_cut_short_names_the_file(tmp_path, syntax, kept):
    path = write(tmp_path / "p3.dcm", stored_values(8))
    if syntax:
        path = transcode(path, tmp_path / "p3.dcm", syntax)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ValueError, match=r"p3\.dcm: DICOM that cannot be read") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"NumberOfFrames": 12}, "12 frames, but one X-ray"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels, more than the limit"),
        ({"PhotometricInterpretation": "XYZ"}, "DICOM that cannot be read"),
    ],
)
def test_not_one_gray_image(tmp_path, tags, message):
    path = write(tmp_path / "p3.dcm", stored_values(8), **tags)
    with pytest.raises(ValueError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("modality", ["CT", "MR", "US", "PT", "NM", "MG", "SEG"])
def test_what_is_no_radiograph_is_refused_by_its_modality(tmp_path, modality):
    path = write(tmp_path / "p3.dcm", stored_values(12), bits=12, Modality=modality)
    with pytest.raises(
        ValueError, match=rf"p3\.dcm: DICOM of modality {modality}, no X-ray image \(CR, "
    ):
        read_image(path)


@pytest.mark.parametrize("modality", ["DX", None])
def test_what_is_no_radiograph_is_refused_by_its_class(tmp_path, modality):
    path = write(
        tmp_path / "p3.dcm",
        stored_values(12),
        bits=12,
        Modality=modality,
        SOPClassUID=CTImageStorage,
    )
    with pytest.raises(
        ValueError, match=r"p3\.dcm: DICOM of class CT Image Storage, no X-ray image"
    ):
        read_image(path)


@pytest.mark.parametrize(
    "modality", ["CR", "DX", "RG", "DR", "XR", "XA", "RF", "OT", "SC", "", None]
)
def test_radiographs_and_files_that_do_not_say_are_read(tmp_path, modality):
    array = stored_values(12)
    close(
        read_image(write(tmp_path / "x.dcm", array, bits=12, Modality=modality)).pixels, unit(array)
    )


def test_file_without_pixels(tmp_path):
    path = write(tmp_path / "report.dcm", stored_values(8))
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    with pytest.raises(ValueError, match=r"report\.dcm: .*no pixel data"):
        read_image(path)


def test_dicom_under_any_suffix(tmp_path):
    array = stored_values(12)
    for name in ("x.png", "x", "1.2.840.1"):
        close(read_image(write(tmp_path / name, array, bits=12)).pixels, unit(array))


@pytest.mark.parametrize("implicit", [False, True])
def test_old_file_without_preamble(tmp_path, implicit):
    array = stored_values(8)
    dataset = pydicom.dcmread(write(tmp_path / "x.dcm", array))
    del dataset.file_meta
    dataset.preamble = None
    dataset.save_as(tmp_path / "old.dcm", implicit_vr=implicit, little_endian=True)
    data = (tmp_path / "old.dcm").read_bytes()
    assert data[:2] == b"\x08\x00"
    assert looks_like_dicom(data)
    close(read_image(tmp_path / "old.dcm").pixels, unit(array))


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=100, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(132, 1000), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_damaged_header_gives_an_image_or_one_clear_error(tmp_path_factory, changes):
    path = write(
        Path(tmp_path_factory.mktemp("fuzz")) / "x.dcm",
        stored_values(8),
        WindowCenter=100,
        WindowWidth=80,
    )
    data = bytearray(path.read_bytes())
    for position, value in changes:
        data[position] = value
    path.write_bytes(data)
    try:
        pixels = read_image(path).pixels
    except ValueError as error:
        message = str(error)
    else:
        message = str(path)
        assert pixels.ndim == 2
        assert 0 <= pixels.min() <= pixels.max() <= 1
    assert str(path) in message


def test_what_pydicom_warns_of_is_not_shown(tmp_path):
    path = write(tmp_path / "x.dcm", stored_values(8))
    data = path.read_bytes()
    start = data.index(b"\x08\0\x16\0UI") + 8
    path.write_bytes(data[:start] + b"1.r" + data[start + 3 :])  # no UID
    assert read_image(path).pixels.shape == (HEIGHT, WIDTH)
