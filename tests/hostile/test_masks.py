"""Mask files that lie, hostile labels, and outputs that are no files."""

import json
import os
import pickle

import numpy as np
import zstandard
from helpers.hostile import cases
from helpers.maskfiles import SMALL, ZEROS, coco_content, npy_header, write_npy, write_pxm
from helpers.sampledata import write_tiny
from helpers.xrays import write_xray
from PIL import Image

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks

COCO, NPY, PXM = (
    f"overlay --image {{here}}/i.png --out {{here}}/o.png --masks {{here}}/x.{suffix}"
    for suffix in ("json", "npy", "pxm")
)
TO = "overlay --image {here}/i.png --masks {here}/x.pxm --out "
HUGE = 2**63 - 1
BLANK = bytes(166 * 2 * 3)


def image(here, size=(2, 3)):
    pixels = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size)
    Image.fromarray(pixels).save(here / "i.png")


def beside(write):
    """Return what makes an image of 2 x 3 pixels, and a mask file by `write(folder)`."""

    def make(here):
        image(here)
        write(here)

    return make


def coco(content, **changes):
    """Return what writes a COCO file: of content with changes, or of text."""
    text = content if isinstance(content, str) else json.dumps(content | changes)
    return beside(lambda here: (here / "x.json").write_text(text))


def rows(*counts, **changes):
    return coco(coco_content(counts), **changes)


def named(name):
    """Return what writes a COCO file with a label of that name, which is everywhere."""
    content = coco_content([[0, 6]])
    content["categories"][0]["name"] = name
    return coco(content)


def npy(header, body=BLANK, version=(1, 0)):
    return beside(lambda here: write_npy(here / "x.npy", header, body, version))


def pxm(body=ZEROS, version=1, length=None, text=None, **changes):
    header = text or SMALL | {"body_bytes": len(body)} | changes
    return beside(lambda here: write_pxm(here / "x.pxm", header, body, version, length))


def image_of(**changes):
    return [{"id": 7, "height": 2, "width": 3} | changes]


@cases(
    ("runs whose sum wraps", rows([HUGE, HUGE, 8]), COCO, 2, "do not add up to 2 x"),
    (
        "an image of 46000 x 46000",
        coco(coco_content([[46000**2]], size=(46000, 46000))),
        *(COCO, 2, "claims 2 masks of 46000 x 46000; the limits are"),
    ),
    (
        "a height of 4000 digits",
        coco(json.dumps(coco_content([])).replace('"height": 2', '"height": ' + "9" * 4000)),
        *(COCO, 2, r"x\.json: .*claims 2 masks of 9{20} x 3;"),
    ),
    ("a height that is text", rows(images=image_of(height="2")), COCO, 2, "of 2 x 3"),
    ("a height that is true", rows(images=image_of(height=True)), COCO, 2, "True"),
    ("no pixels", rows(images=image_of(height=0)), COCO, 2, "masks of 0 x 3"),
    (
        "a key twice",
        coco(json.dumps(coco_content([[6]])).replace('"images"', '"images": [], "images"')),
        *(COCO, 2, r"x\.json: .*'images' stands twice"),
    ),
    ("deep nesting", coco("[" * 50_000), COCO, 2, "nested too deeply"),
    ("a list", coco("[]"), COCO, 2, "not a COCO RLE file"),
    ("runs that are negative", rows([9, -3]), COCO, 2, "do not add up"),
    ("runs with fractions", rows([2.9, 4.2]), COCO, 2, "do not add up"),
    ("runs that are text", rows(["1", "5"]), COCO, 2, "do not add up"),
    ("runs of 30 digits", rows([10**30, 6]), COCO, 2, "do not add up"),
    ("runs in lists", rows([[6]]), COCO, 2, "do not add up"),
    ("no runs", rows([]), COCO, 2, "do not add up"),
    ("compressed runs too large", rows("oooooo0"), COCO, 2, "do not add up"),
    ("compressed runs without end", rows("oooooooo"), COCO, 2, "compressed text"),
    (
        "a mask of another image",
        rows(annotations=[coco_content([[6]])["annotations"][0] | {"image_id": 8}]),
        *(COCO, 2, "a mask of image 8, but the file is of image 7"),
    ),
    (
        "a million masks in an image of a million pixels",
        coco(coco_content([None] * 20_000, size=(1000, 1000))),
        *(COCO, 2, "20000 masks of 1000 x 1000; unite them by label"),
    ),
    (
        "five thousand labels",
        rows(categories=[{"id": i, "name": f"part {i}"} for i in range(5000)]),
        *(COCO, 2, "1 to 4096 label names are needed"),
    ),
    ("a name of 1 MB", named("x" * 10**6), COCO, 2, r"256 characters.{,120}$"),
    ("a name of two lines", named("a\nb"), COCO, 2, r"one line.*'a\\nb'"),
    ("a name that rings", named("\x07"), COCO, 2, r"one line.*'\\x07'"),
    ("a blank name", named(" "), COCO, 2, "non-empty"),
    ("a name that is half a character", named("\ud800"), COCO, 2, r"\\ud800"),
    ("a name that is a number", named(5), COCO, 2, "must be non-empty strings"),
    ("a name of TeX", named(r"$\frac{$"), COCO, 0, "o.png"),
    ("a name of HTML", named("</script><script>alert(1)"), COCO, 0, "o.png"),
    ("a name from right to left", named("\u202egnp.x"), COCO, 0, "o.png"),
)
def test_coco_files(case, hostile):
    hostile(case)


class Opens:
    """A pickle that would run a command."""

    def __reduce__(self):
        return os.system, ("touch {here}/pwned",)


@cases(
    (
        "10^28 masks",
        npy(npy_header((10**28, 2, 3))),
        *(NPY, 2, r"x\.npy: 10{28} masks, but 166"),
    ),
    (
        "10^28 rows",
        npy(npy_header((166, 10**28, 3))),
        NPY,
        2,
        "claims 166 masks of 10",
    ),
    ("truths for sizes", npy(npy_header((166, True, True))), NPY, 2, "True x True"),
    ("all truths", npy(npy_header((True,) * 3)), NPY, 2, r"x\.npy: True masks"),
    (
        "negative sizes",
        npy(npy_header((166, -2, -3))),
        NPY,
        2,
        r"got \(166, -2, -3\)",
    ),
    ("no sizes", npy(npy_header(())), NPY, 2, "0 masks, but 166"),
    (
        "a smaller stack than the file",
        npy(npy_header((166, 2, 2))),
        NPY,
        2,
        "damaged",
    ),
    ("a larger one", npy(npy_header((166, 2, 4))), NPY, 2, "cut short"),
    (
        "objects",
        npy(npy_header((166, 2, 3), "'|O'"), pickle.dumps([Opens()])),
        *(NPY, 2, "Python objects, which are never unpickled"),
    ),
    (
        "records",
        npy(npy_header((166, 2, 3), "[('a', '|b1')]")),
        *(NPY, 2, r"of 0 and 1, got \(166, 2, 3\) \[\('a', '\?'\)\]"),
    ),
    (
        "numbers of a gigabyte each",
        npy(npy_header((166, 2, 3), "'|V1000000000'")),
        *(NPY, 2, "of 0 and 1, got"),
    ),
    (
        "a header that claims 100 MB",
        beside(lambda here: (here / "x.npy").write_bytes(b"\x93NUMPY\2\0" + b"\0\xe1\xf5\5" * 3)),
        *(NPY, 2, "not a readable .npy"),
    ),
    (
        "a header of 100 MB",
        beside(
            lambda here: (
                (here / "x.npy").write_bytes(b"\x93NUMPY\2\0\0\xe1\xf5\5"),
                os.truncate(here / "x.npy", 100_000_012),
            )
        ),
        *(NPY, 2, "not a readable .npy"),
    ),
    ("a header of brackets", npy("(" * 9000), NPY, 2, r"not a readable.{,400}$"),
    ("a header of signs", npy("-" * 9000 + "1"), NPY, 2, r"not a readable.{,400}$"),
    ("a header of digits", npy("9" * 9000), NPY, 2, "not a readable"),
    ("a header of null bytes", npy("\0" * 90), NPY, 2, "not a readable"),
    (
        "a later version",
        npy(npy_header((166, 2, 3)), version=(3, 0)),
        NPY,
        2,
        "version",
    ),
    ("a mask of 2", npy(npy_header((166, 2, 3)), b"\2" * 996), NPY, 2, "holds 2"),
    (
        "a mask of no numbers",
        npy(npy_header((166, 2, 3), "'<f4'"), np.full(996, np.nan, "<f4").tobytes()),
        *(NPY, 2, "holds nan"),
    ),
    (
        "columns first",
        npy(npy_header((166, 2, 3), fortran_order=True), b"\1" * 996),
        *(NPY, 0, "o.png"),
    ),
)
def test_npy_files(case, hostile):
    hostile(case)


BOMB = zstandard.compress(bytes(1 << 26))  # 2 kB
ASKING = zstandard.ZstdCompressor(
    compression_params=zstandard.ZstdCompressionParameters(window_log=30)
).compressobj()
WIDE = ASKING.compress(bytes(6)) + ASKING.flush()


@cases(
    ("a lying shape", pxm(shape=[2, 2, 4]), PXM, 2, "does not hold 2 masks of 2 x 4"),
    ("a shape of 46000", pxm(shape=[2, 46000, 46000]), PXM, 2, "46000; the limits"),
    ("a shape of text", pxm(shape=["2", "2", "3"]), PXM, 2, r"x\.pxm: damaged"),
    ("a shape of fractions", pxm(shape=[2, 2.5, 3]), PXM, 2, "masks of 2.5 x 3"),
    ("a body of more", pxm(zstandard.compress(bytes(7))), PXM, 2, "does not hold"),
    ("a body of two frames", pxm(ZEROS * 2), PXM, 2, "does not hold"),
    ("a body with a tail", pxm(ZEROS + b"tail"), PXM, 2, r"x\.pxm: damaged"),
    ("a body that is a bomb", pxm(BOMB), PXM, 2, "does not hold"),
    ("a frame that asks for 1 GiB", pxm(WIDE), PXM, 2, r"x\.pxm: damaged"),
    ("a header of 4 GB", pxm(length=2**32 - 1), PXM, 2, r"x\.pxm: damaged"),
    ("a later version", pxm(version=9), PXM, 2, "version 9, but .* update"),
    ("labels that are numbers", pxm(labels=[1, 2]), PXM, 2, "must be non-empty str"),
    ("labels that are a text", pxm(labels="ab"), PXM, 2, "no list of names"),
    (
        "a key twice",
        pxm(text=json.dumps(SMALL).replace("{", '{"labels": ["c", "d"], ', 1).encode()),
        *(PXM, 2, "'labels' stands twice"),
    ),
    (
        "bytes after the end",
        beside(lambda here: (write_pxm(here / "x.pxm", SMALL, ZEROS), append(here / "x.pxm"))),
        *(PXM, 2, "checksum does not match"),
    ),
)
def test_packed_files(case, hostile):
    hostile(case)


def append(path):
    path.write_bytes(path.read_bytes() + b"\0")


def good(here):
    image(here)
    PackedMasks.pack(np.ones((166, 2, 3)), LABELS).write(here / "x.pxm")


def good_and(write):
    return lambda here: (good(here), write(here))


def link_output(here):
    (here / "o.png").symlink_to("/dev/full")


def huge_masks(here):
    PackedMasks.pack(np.ones((1, 9, 9)), LabelSet(["a"])).write(here / "x.pxm", (9000, 9000))


PIPE = beside(lambda here: os.mkfifo(here / "x.npy"))
ENDLESS = beside(lambda here: (here / "x.json").symlink_to("/dev/zero"))
FOLDER = beside(lambda here: (here / "x.pxm").mkdir())
OTHER_SIZE = good_and(lambda here: image(here, (3, 2)))
TO_FOLDER = good_and(lambda here: (here / "o.png").mkdir())
TO_PIPE = good_and(lambda here: os.mkfifo(here / "o.png"))
OUT = "{here}/o.png"


@cases(
    ("masks that are a pipe", PIPE, NPY, 2, r"x\.npy: a named pipe"),
    ("masks that never end", ENDLESS, COCO, 2, r"x\.json: a device"),
    ("masks that are a folder", FOLDER, PXM, 2, r"x\.pxm: a folder"),
    ("no masks", image, PXM, 2, r"x\.pxm: no such file"),
    ("masks of another size", OTHER_SIZE, PXM, 2, "the image has 3 rows and 2 columns"),
    ("huge masks", good_and(huge_masks), PXM, 2, "but the masks 9000 and 9000"),
    ("an output that is a folder", TO_FOLDER, TO + OUT, 2, r"o\.png: a folder"),
    ("an output that is a pipe", TO_PIPE, TO + OUT, 2, r"o\.png: a named pipe"),
    ("an output that is full", good_and(link_output), TO + OUT, 2, r"o\.png: a device"),
    ("an output that is a device", good, TO + "/dev/full", 2, "full: overlays are written as PNG"),
    ("an output in a file", good, TO + "{here}/i.png/o.png", 2, r"i\.png"),
    ("a pattern of 100 kB", good, TO + f"{OUT} --labels {'*a' * 50_000}", 2, "unknown.{,120}$"),
    ("a pattern of many stars", good, "labels " + "*a" * 100 + "b", 2, "unknown label"),
    ("a name that clears the screen", good, "labels \x1b[2J", 2, r"unknown label.*\\x1b\[2J"),
)
def test_overlays_and_labels(case, hostile):
    hostile(case)


def data_with(header):
    """Return what makes a data set of fourteen stacks, one of them with a hostile header."""

    def make(here):
        write_tiny(here, 16, LabelSet(["heart", "aorta"]), ".npy")
        write_npy(here / "labels/case000frontal.npy", header, bytes(512))

    return make


MANY = data_with(npy_header((10**28, 16, 16)))
LARGE = data_with(npy_header((2, 10**28, 16)))
TRUTHS = data_with(npy_header((2, True, True)))
ODD = data_with("(" * 9000)
CHECK, PACK = "check --data-root {here}", "pack --data-root {here} --workers 1"
ONE_WRONG = r"case000frontal\.npy: {}.*1 errors"
REST = r"case000frontal\.npy: {}.*13 packed, 0 already packed, 1 failed of 14"


@cases(
    ("10^28 masks", MANY, CHECK, 1, ONE_WRONG.format("10{28} masks")),
    ("10^28 rows", LARGE, CHECK, 1, ONE_WRONG.format("it claims 2 masks of 10")),
    ("truths", TRUTHS, CHECK, 1, ONE_WRONG.format("it claims 2 masks of True")),
    ("brackets", ODD, CHECK, 1, ONE_WRONG.format("not a readable")),
    ("10^28 masks to pack", MANY, PACK, 1, REST.format("10{28} masks")),
    ("10^28 rows to pack", LARGE, PACK, 1, REST.format("it claims 2 masks of 10")),
    ("truths to pack", TRUTHS, PACK, 1, REST.format("it claims 2 masks of True")),
    ("brackets to pack", ODD, PACK, 1, REST.format("not a readable")),
)
def test_one_wrong_stack_among_many(case, hostile):
    hostile(case)


def data_of(label_dict):
    """Return what makes a data set of these labels, whose masks are of others."""

    def make(here):
        write_tiny(here, 16, LabelSet(["heart"]))
        content = json.loads((here / "paxray.json").read_text()) | {"label_dict": label_dict}
        (here / "paxray.json").write_text(json.dumps(content))

    return make


NAMES = data_of({str(i): f"part {i}" for i in range(10**5)})


@cases(
    ("a hundred thousand labels", NAMES, CHECK, 2, "1 to 4096 label names are needed, got more"),
    ("a name of 1 MB", data_of({"0": "x" * 10**6}), CHECK, 2, r"256 characters.{,120}$"),
    ("a name of two lines", data_of({"0": "a\nb"}), CHECK, 2, "one line"),
    ("an empty name", data_of({"0": ""}), PACK, 2, "non-empty"),
    ("a key that is no number", data_of({"x": "heart"}), CHECK, 2, "must have the keys 0..0"),
    ("a list of labels", data_of(["heart"]), CHECK, 2, "must be an object of index: name"),
)
def test_label_dicts(case, hostile):
    hostile(case)


def beside_good(**tags):
    """Return what makes a folder of two DICOM X-rays, one of them with hostile tags."""

    def make(here):
        (here / "in").mkdir()
        write_xray(here / "in/good.dcm", (40, 40))
        write_xray(here / "in/x.dcm", (40, 40), **tags)

    return make


def not_dicom(here):
    beside_good()(here)
    (here / "in/x.dcm").unlink()
    Image.fromarray(np.eye(40, dtype=np.uint8)).save(here / "in/x.png")


SEG = "predict --images {here}/in --out {here}/out --weights {weights} --labels heart"
SEG += " --format dicom-seg"
ONE_FAILED = "1 ok, 0 skipped, 1 failed"


@cases(
    ("a single label", beside_good(), SEG, 0, "2 ok, 0 skipped, 0 failed"),
    ("a PNG", not_dicom, SEG, 1, r"x\.png: not DICOM.*" + ONE_FAILED),
    ("no study", beside_good(StudyInstanceUID=None), SEG, 1, r"x\.dcm: lacks Stu.*" + ONE_FAILED),
)
def test_dicom_segmentations(case, hostile):
    hostile(case)
