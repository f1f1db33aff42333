"""Imports: sources that lie, lead out, are cut short or too large."""

import json
import os
import struct
import zlib

import numpy as np
import pydicom
from helpers.hostile import cases
from helpers.xrays import write_xray
from PIL import Image

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.dicom_seg import write_dicom_seg
from paxray_lib.masks.packed import PackedMasks

MASKS = "import masks --images {here}/images --mask heart={here}/heart --split test --out {here}/o"


def picture(path, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(*size, dtype=np.uint8) * 255).save(path)


def masks(change):
    """Return what makes two images with masks, then changes them."""

    def make(here):
        for name in ("a", "b"):
            picture(here / f"images/{name}.png")
            picture(here / f"heart/{name}.png")
        change(here)

    return make


def huge_png(path, side=1 << 20):
    """Write a PNG that claims side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b""))
    sums = (struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks)
    parts = [
        struct.pack(">I", len(body)) + name + body + checksum
        for (name, body), checksum in zip(chunks, sums, strict=True)
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def table(text):
    return masks(lambda here: (here / "s.csv").write_bytes(text))


WITH_TABLE = MASKS.replace("--split test", "--splits {here}/s.csv")


@cases(
    (
        "a mask that claims a terapixel",
        masks(lambda here: huge_png(here / "heart/a.png")),
        *(MASKS, 1, r"a\.png: 1048576 x 1048576.*1 imported, 0 skipped, 1 failed"),
    ),
    (
        "a GIF that claims 65535 x 65535",
        masks(
            lambda here: (
                (here / "heart/a.png").unlink(),
                (here / "heart/a.gif").write_bytes(b"GIF89a\xff\xff\xff\xff\0\0\0;"),
            )
        ),
        *(MASKS, 1, r"a\.gif: .*1 imported, 0 skipped, 1 failed"),
    ),
    (
        "an empty mask",
        masks(lambda here: (here / "heart/a.png").write_bytes(b"")),
        *(MASKS, 1, r"a\.png: the file is empty"),
    ),
    (
        "a pipe for a mask",
        masks(lambda here: ((here / "heart/a.png").unlink(), os.mkfifo(here / "heart/a.png"))),
        *(MASKS, 1, r"a\.png: a named pipe"),
    ),
    (
        "a text for a mask",
        masks(lambda here: (here / "heart/a.png").write_text("mask")),
        *(MASKS, 1, r"a\.png: masks are PNG, JPEG or GIF"),
    ),
    (
        "an image whose name is not UTF-8",
        masks(
            lambda here: [
                os.rename(here / f"{d}/a.png", os.fsencode(here / d) + b"/\xff.png")
                for d in ("images", "heart")
            ]
        ),
        *(MASKS, 1, r"1 imported, 0 skipped, 1 failed"),
    ),
    (
        "an output folder that leads away",
        masks(
            lambda here: (
                (here / "o").mkdir(),
                (here / "away").mkdir(),
                (here / "o/images").symlink_to("../away"),
            )
        ),
        *(MASKS, 1, r"leads outside.*0 imported, 0 skipped, 2 failed"),
    ),
    (
        "an output folder among the images",
        masks(lambda _: None),
        *(MASKS.replace("{here}/o", "{here}/images/o"), 2, "lies in --images"),
    ),
    (
        "a label without a name",
        masks(lambda _: None),
        *(MASKS.replace("heart=", "="), 2, "must be NAME=DIR"),
    ),
    ("a label of spaces", masks(lambda _: None), MASKS.replace("heart=", "' ='"), 2, "label names"),
    (
        "a folder that is missing",
        masks(lambda _: None),
        *(MASKS.replace("{here}/heart", "{here}/hart"), 2, "hart: no such folder"),
    ),
    (
        "an unknown label that is known",
        masks(lambda _: None),
        *(f"{MASKS} --known hart", 2, "'hart'.*'heart'"),
    ),
    ("an empty table", table(b""), WITH_TABLE, 2, r"s\.csv: .*empty"),
    ("a table of bytes", table(b"\xff\0\xfe"), WITH_TABLE, 2, r"s\.csv: not a readable table"),
    ("a table of other columns", table(b"a,b\n1,2\n"), WITH_TABLE, 2, r"row 2 has no id"),
    ("an unknown split", table(b"id,split\na,trian\n"), WITH_TABLE, 2, r"row 2: split 'trian'"),
    ("two splits", table(b"id,split\na,val\na.png,test\n"), WITH_TABLE, 2, r"row 3: 'a' is in two"),
    (
        "a field of a megabyte",
        table(b"id,split\n" + b"a" * (1 << 20) + b",val\n"),
        *(WITH_TABLE, 2, r"s\.csv: not a readable table .field larger"),
    ),
)
def test_masks(case, hostile):
    hostile(case)


COCO = "import coco --annotations {here}/train.json --images {here}/images --out {here}/o"
SHARDS = "import sharded-coco {here} --out {here}/o"
IMAGES = [{"id": i, "file_name": f"{i}.png", "height": 8, "width": 8} for i in range(2)]
ALL = {"size": [8, 8], "counts": [0, 64]}
ANNOTATIONS = [{"image_id": i, "category_id": 1, "segmentation": ALL} for i in range(2)]
CATEGORIES = [{"id": 1, "name": "heart"}]


def coco(**changes):
    """Return what makes a COCO file of two images, with other values for some keys, or a text."""

    def make(here):
        for i in range(2):
            picture(here / f"images/{i}.png")
        content = {"images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES} | changes
        (here / "train.json").write_text(changes.get("text") or json.dumps(content))

    return make


def image(**changes):
    return coco(images=[IMAGES[0] | changes, IMAGES[1]])


def shards(name, content):
    """Return what makes a sharded data set of one image, then replaces a file."""

    def make(here):
        picture(here / "images/p.png")
        row = {"file_name": "images/p.png", "height": 8, "width": 8}
        index = {"format": "sharded_coco_v1", "splits": {"train": ["p"], "val": [], "test": []}}
        files = {
            "index.json": index,
            "categories.json": {"categories": CATEGORIES},
            "annotations/p.json": {"image": row, "annotations": ANNOTATIONS[:1]},
        }
        files[name] = files[name] | content
        (here / "annotations").mkdir()
        for path, value in files.items():
            (here / path).write_text(json.dumps(value))

    return make


ONE = r"1 imported, 0 skipped, 1 failed"
ENDLESS = '{"images": [{"id": "' + "x" * (40 << 20)


@cases(
    ("a file that is sound", coco(), COCO, 0, "2 imported, 0 skipped, 0 failed"),
    (
        "a path that climbs out",
        image(file_name="../images/0.png"),
        COCO,
        1,
        f"no path below.*{ONE}",
    ),
    ("an absolute path", image(file_name="/etc/passwd"), COCO, 1, f"no path below.*{ONE}"),
    ("a path with a null byte", image(file_name="a\0b"), COCO, 1, f"no path below.*{ONE}"),
    ("no path", image(file_name=""), COCO, 1, ONE),
    ("a path of dots", image(file_name="."), COCO, 1, ONE),
    ("half a character", image(file_name="\ud800.png"), COCO, 1, ONE),
    ("a name that steers", image(file_name="\x1b[2J.png"), COCO, 1, f"no such file.*{ONE}"),
    ("a size of a terapixel", image(height=1 << 20, width=1 << 20), COCO, 1, f"claims.*{ONE}"),
    ("a size below zero", image(height=-8), COCO, 1, f"claims.*{ONE}"),
    ("a size that is a text", image(height="8" * 9999), COCO, 1, f"claims.*{ONE}"),
    ("a size that the masks have not", image(height=16), COCO, 1, f"size .8, 8.*{ONE}"),
    ("known labels that are none", image(known=["hart"]), COCO, 1, f"'hart'.*'heart'.*{ONE}"),
    ("known labels that are a text", image(known="heart"), COCO, 1, f"no list of known.*{ONE}"),
    (
        "a size that the image has not",
        coco(
            images=[IMAGES[0] | {"height": 16, "width": 4}, IMAGES[1]],
            annotations=[ANNOTATIONS[0] | {"segmentation": {"size": [16, 4], "counts": [0, 64]}}],
        ),
        *(COCO, 1, f"masks of 16 x 4 do not fit 8 x 8.*{ONE}"),
    ),
    ("an id that is a list", image(id=[1]), COCO, 2, r"train\.json: an image without id"),
    ("an id of 4000 digits", image(id=10**4000), COCO, 2, r"train\.json: an image without id"),
    ("two images with one id", image(id=1), COCO, 2, r"train\.json: two images have the id 1"),
    ("two images with one name", image(file_name="1.PNG"), COCO, 1, "several images of the source"),
    ("an image that is a number", coco(images=[3]), COCO, 2, r"train\.json: an image without id"),
    ("no image", coco(images=[], annotations=[]), COCO, 2, "no image in the source"),
    ("no category", coco(categories=[]), COCO, 2, r"train\.json: no list of categories"),
    (
        "categories that are a number",
        coco(categories=3),
        *(COCO, 2, r"train\.json: a category without id or name"),
    ),
    (
        "ids of two kinds",
        coco(categories=[*CATEGORIES, {"id": "a", "name": "b"}]),
        *(COCO, 2, r"train\.json: no list of categories"),
    ),
    (
        "two categories with one id",
        coco(categories=CATEGORIES * 2),
        *(COCO, 2, "two categories have the id 1"),
    ),
    (
        "a category for each of 5000 bits",
        coco(categories=[{"id": i, "name": "a"} for i in range(5000)]),
        *(COCO, 2, r"train\.json: .*4096"),
    ),
    (
        "an annotation of nothing",
        coco(annotations=[{}]),
        *(COCO, 2, r"train\.json: an annotation without the id"),
    ),
    (
        "an unknown category",
        coco(annotations=[ANNOTATIONS[0] | {"category_id": 9}]),
        *(COCO, 1, ONE),
    ),
    (
        "a key twice in an annotation",
        coco(
            text=json.dumps({"images": IMAGES, "categories": CATEGORIES})[:-1]
            + ', "annotations": [{"image_id": 1, "image_id": 0, "category_id": 1}]}'
        ),
        *(COCO, 1, f"stands twice.*{ONE}"),
    ),
    (
        "run lengths of a terapixel",
        coco(annotations=[ANNOTATIONS[0] | {"segmentation": ALL | {"counts": [0, 1 << 40]}}]),
        *(COCO, 1, f"do not add up.*{ONE}"),
    ),
    (
        "more annotations than an image can have",
        coco(annotations=ANNOTATIONS[:1] * 400_000),
        *(COCO, 1, f"more than 32 MiB for one image.*{ONE}"),
    ),
    (
        "a file cut short",
        coco(text=json.dumps({"images": IMAGES})[:-9]),
        COCO,
        2,
        "byte .*cut short",
    ),
    ("an empty file", coco(text=" "), COCO, 2, r"train\.json: not a JSON object"),
    (
        "a file of 40 MiB without an end",
        coco(text=ENDLESS),
        COCO,
        2,
        r"train\.json: not a JSON obj",
    ),
    ("nesting", coco(text='{"images": [' + "[" * 10**6), COCO, 2, "nested too deeply"),
    (
        "a pipe for a file",
        lambda here: (coco()(here), os.remove(here / "train.json"), os.mkfifo(here / "train.json")),
        *(COCO, 2, r"train\.json: a named pipe"),
    ),
)
def test_coco(case, hostile):
    hostile(case)


@cases(
    ("shards that are sound", shards("index.json", {}), SHARDS, 0, "1 imported, 0 skipped, 0 fail"),
    (
        "a shard that climbs out",
        shards("index.json", {"splits": {"train": ["../annotations/p", "p"]}}),
        *(SHARDS, 1, f"no path below.*{ONE}"),
    ),
    (
        "shards in a folder that climbs out",
        shards("index.json", {"ann_dir": ".."}),
        *(SHARDS, 2, "index.json: no index of sharded COCO .*no path below"),
    ),
    (
        "an image that climbs out",
        shards("annotations/p.json", {"image": {"file_name": "/etc/passwd"}}),
        *(SHARDS, 1, "no path below.*0 imported"),
    ),
    (
        "another format",
        shards("index.json", {"format": "x"}),
        SHARDS,
        2,
        "index.json: .*format 'x'",
    ),
    ("an unknown split", shards("index.json", {"splits": {"a": []}}), SHARDS, 2, "split 'a'"),
    ("a list of splits", shards("index.json", {"splits": [3]}), SHARDS, 2, "no index of sharded"),
    (
        "categories of a number",
        shards("categories.json", {"categories": 3}),
        *(SHARDS, 2, r"categories\.json: no "),
    ),
    (
        "a size that lies",
        shards("annotations/p.json", {"image": {"file_name": "images/p.png", "height": 1 << 40}}),
        *(SHARDS, 1, r"p\.json: .*claims.*0 imported"),
    ),
    ("a folder that is none", lambda _: None, SHARDS, 2, r"index\.json: no such file"),
)
def test_sharded_coco(case, hostile):
    hostile(case)


CLASSES = "import multiclass --datafile {here}/s.json --out {here}/o"
CHEXMASK = "import chexmask --table {here}/t.csv --images {here}/images --split test --out {here}/o"
ROW = "a.png,0.9,{},{},{},{},{}\n"
HEADER = "id,Dice RCA (Mean),Left Lung,Right Lung,Heart,Height,Width\n"


def classes(**changes):
    """Return what makes a data file of one picture of classes, with changes to it or to its row."""

    def make(here):
        picture(here / "images/a.png")
        picture(here / "masks/a.png")
        row = {"image": "images/a.png", "target": "masks/a.png"}
        row |= {key: value for key, value in changes.items() if key in row}
        content = {"label_dict": {"255": "heart"}, "train": [row]} | changes
        (here / "s.json").write_text(json.dumps(content))

    return make


@cases(
    ("a data file that is sound", classes(), CLASSES, 0, "1 imported, 0 skipped, 0 failed"),
    ("an image that climbs out", classes(image="../a.png"), CLASSES, 1, "no path below"),
    ("a target that climbs out", classes(target="/etc/passwd"), CLASSES, 1, "no path below"),
    ("a target that is a list", classes(target=[]), CLASSES, 1, "no target; it needs"),
    ("a class of 2**40", classes(label_dict={str(1 << 40): "a"}), CLASSES, 2, r"s\.json: .*65535"),
    ("a class twice", classes(label_dict={"1": "a", "01": "b"}), CLASSES, 2, r"s\.json: .*differe"),
    ("classes in a list", classes(label_dict=[]), CLASSES, 2, r"s\.json: no data file"),
    ("only background", classes(label_dict={"0": "background"}), CLASSES, 2, r"s\.json: no data"),
    ("a split that is a number", classes(train=3), CLASSES, 2, r"s\.json: no data file"),
    ("an item that is a number", classes(train=[3]), CLASSES, 2, r"s\.json: no data file"),
    ("an image that is a number", classes(image=3), CLASSES, 2, r"s\.json: no data file"),
    (
        "a picture that claims a terapixel",
        lambda here: (classes()(here), huge_png(here / "masks/a.png")),
        *(CLASSES, 1, r"a\.png: .*1048576 x 1048576"),
    ),
)
def test_multiclass(case, hostile):
    hostile(case)


def rows(text):
    """Return what makes a table of CheXmask, and an image a.png."""

    def make(here):
        picture(here / "images/a.png")
        (here / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())

    return make


@cases(
    (
        "a table that is sound",
        rows(HEADER + ROW.format("1 2", "", "64 1", 8, 8)),
        *(CHEXMASK, 0, "1 imported, 0 skipped, 0 failed"),
    ),
    (
        "a size of a terapixel",
        rows(HEADER + ROW.format("1 2", "", "", 1 << 20, 1 << 20)),
        *(CHEXMASK, 1, r"t\.csv: .*claims 3 masks of 1048576"),
    ),
    (
        "a size without end",
        rows(HEADER + ROW.format("1 2", "", "", "inf", "nan")),
        *(CHEXMASK, 1, r"t\.csv: .*not masks of CheXmask"),
    ),
    (
        "a row that climbs out",
        rows(HEADER + ROW.format("", "", "", 8, 8).replace("a.png", "../../etc/passwd")),
        *(CHEXMASK, 2, "nothing to import; left out: 1 rows"),
    ),
    ("other columns", rows("a,b\n1,2\n"), CHEXMASK, 2, r"t\.csv: no column Left Lung, Right"),
    ("an empty table", rows(""), CHEXMASK, 2, r"t\.csv: not a readable table .it is empty"),
    ("a table of bytes", rows(b"\xff\xfe\0"), CHEXMASK, 2, r"t\.csv: not a readable table"),
    ("a table that is packed", rows(b"\x1f\x8b\x08"), CHEXMASK, 2, r"t\.csv: not a readable table"),
    (
        "a line of 9 MiB",
        rows(HEADER + "a" * (9 << 20)),
        *(CHEXMASK, 2, r"t\.csv: not a readable table .a line of more than 4 MiB"),
    ),
    (
        "a quote without end",
        rows(HEADER + '"' + "a,\n" * (1 << 20)),
        *(CHEXMASK, 2, r"t\.csv: not a readable table .field larger"),
    ),
    (
        "a table cut short",
        rows(HEADER + ROW.format("1 2", "", "", 8, 8) + 'b.png,0.9,"1 '),
        *(CHEXMASK, 2, r"t\.csv: not a readable table .unexpected end"),
    ),
)
def test_chexmask(case, hostile):
    hostile(case)


SEGS = (
    "import dicom-seg --images {here}/films --segmentations {here}/segs --split val --out {here}/o"
)


def segmentations(change):
    """Return what makes two films with segmentations, then changes them."""

    def make(here):
        for folder in ("films", "segs"):
            (here / folder).mkdir()
        for name in ("a", "b"):
            film = write_xray(here / f"films/{name}.dcm", (8, 8))
            masks = PackedMasks.pack(np.eye(8, dtype=bool)[None], LabelSet(["heart"]))
            write_dicom_seg(here / f"segs/{name}.dcm", masks, (8, 8), film, "m")
        change(here)

    return make


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


@cases(
    ("sound ones", segmentations(lambda _: None), SEGS, 0, "2 imported, 0 skipped, 0 failed"),
    (
        "one cut short",
        segmentations(lambda here: cut(here / "segs/a.dcm")),
        *(SEGS, 1, rf"segs/a\.dcm: DICOM that cannot be read.*export it again.*{ONE}"),
    ),
    (
        "one of a film that is not there",
        segmentations(lambda here: (here / "films/a.dcm").unlink()),
        *(
            SEGS,
            1,
            r"segs/a\.dcm: is of the image .*add that image.*1 imported, 0 skipped, 1 failed",
        ),
    ),
    (
        "a film of another size",
        segmentations(
            lambda here: write_xray(
                here / "films/a.dcm",
                (16, 16),
                SOPInstanceUID=pydicom.dcmread(here / "films/a.dcm").SOPInstanceUID,
            )
        ),
        *(SEGS, 1, rf"segs/a\.dcm: .*8 x 8, but .*a\.dcm of 16 x 16.*{ONE}"),
    ),
    (
        "a pipe among them",
        segmentations(lambda here: os.mkfifo(here / "segs/c.dcm")),
        *(SEGS, 1, r"segs/c\.dcm: a named pipe.*2 imported, 0 skipped, 1 failed"),
    ),
    (
        "no DICOM at all",
        segmentations(lambda here: [p.write_bytes(b"x") for p in (here / "segs").iterdir()]),
        *(SEGS, 2, r"segs: no DICOM segmentation; check the path"),
    ),
)
def test_dicom_seg(case, hostile):
    hostile(case)


EXPORT = "export coco --data-root {data} --out {here}/coco"


def spoil(here, name, content):
    (here / "data" / name).write_bytes(content)


@cases(
    ("a sound data set", lambda _: None, EXPORT, 0, "14 images, .* 0 failed.*--images"),
    (
        "damaged masks",
        lambda here: spoil(here, "labels/case000frontal.pxm", b"PAXMASK"),
        *(EXPORT, 1, r"case000frontal\.pxm: not a packed.*13 images"),
    ),
    (
        "a damaged image",
        lambda here: spoil(here, "images/case000frontal.png", b"PNG"),
        *(EXPORT, 1, r"case000frontal\.png: .*13 images"),
    ),
    (
        "a file of that name",
        lambda here: ((here / "coco").mkdir(), (here / "coco/val.json").touch()),
        *(EXPORT, 2, r"val\.json: is there already"),
    ),
    (
        "no data set",
        lambda _: None,
        EXPORT.replace("{data}", "{here}/no"),
        2,
        "no such data folder",
    ),
)
def test_export_coco(case, hostile):
    hostile(case)


REVIEWED = "import reviewed --data-root {data} --review {here} --out {here}/o"
ROWS = "image,verdict,note,reviewer,time\n"


def review(text):
    return lambda here: (here / "review.csv").write_text(text)


@cases(
    (
        "a sound review",
        review(ROWS + "case000frontal,accept,,,\ncase001frontal,doubt,,,\n"),
        *(REVIEWED, 0, "2 of 14 films reviewed: 1 accept, 1 doubt, 0 reject.*1 imported"),
    ),
    ("no review", lambda _: None, REVIEWED, 2, "none was accepted; review them first"),
    (
        "a review of other films",
        review(ROWS + "../../etc/passwd,accept,,,\n"),
        *(REVIEWED, 2, "review is of '../../etc/passwd', not among"),
    ),
    ("other columns", review("a\n1\n"), REVIEWED, 2, r"review\.csv: its columns must be"),
    (
        "an unknown verdict",
        review(ROWS + "case000frontal,acept,,,\n"),
        *(REVIEWED, 2, r"review\.csv: row 2: verdict 'acept': unknown; did you mean 'accept'"),
    ),
    (
        "a pipe for a review",
        lambda here: os.mkfifo(here / "review.csv"),
        *(REVIEWED, 2, r"review\.csv: a named pipe"),
    ),
    (
        "masks that are damaged",
        lambda here: (
            review(ROWS + "case000frontal,accept,,,\ncase001frontal,accept,,,\n")(here),
            spoil(here, "labels/case000frontal.pxm", b"PAXMASK"),
        ),
        *(REVIEWED, 1, r"case000frontal\.pxm: .*1 imported, 0 skipped, 1 failed"),
    ),
    (
        "two things reviewed",
        lambda _: None,
        *(f"{REVIEWED} --predictions {{here}}", 2, "--predictions or by --data-root"),
    ),
)
def test_reviewed(case, hostile):
    hostile(case)


STROKES = "import strokes {here}/s.json --data-root {data} --out {here}/o"
SOUND = {"id": "a", "image": "case000frontal", "label": 1, "mode": "add", "points": [[8, 8]]}


def written(*records):
    return lambda here: (here / "s.json").write_text(json.dumps(records))


@cases(
    ("a sound stroke", written(SOUND), STROKES, 0, "1 corrected, 0 failed"),
    ("no file", lambda _: None, STROKES, 2, r"s\.json"),
    ("a pipe", lambda here: os.mkfifo(here / "s.json"), STROKES, 2, r"s\.json: a named pipe"),
    ("no JSON", lambda here: (here / "s.json").write_bytes(b"\xff["), STROKES, 2, r"s\.json"),
    ("no list", lambda here: (here / "s.json").write_text("3"), STROKES, 2, "no list of strokes"),
    (
        "an image that leads away",
        written({**SOUND, "image": "../../x"}, SOUND),
        *(STROKES, 1, r"\.\./\.\./x: no image is called that.*1 corrected, 1 failed"),
    ),
    (
        "fields of other kinds",
        written({**SOUND, "label": 10**9}, {**SOUND, "id": [], "image": "case001frontal"}),
        *(STROKES, 1, "0 corrected, 2 failed"),
    ),
    (
        "another film",
        written({**SOUND, "film": ["\x1b[2J"]}),
        *(STROKES, 1, "another film called 'case000frontal'"),
    ),
    (
        "another label",
        written({**SOUND, "name": "\x1b[2J"}),
        *(STROKES, 1, "but label 1 is lung_right"),
    ),
)
def test_strokes(case, hostile):
    hostile(case)
