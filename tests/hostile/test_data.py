"""Data sets: data files, archives, samples and what is read, written and deleted for them."""

import contextlib
import errno
import json
import os
import signal
import tarfile
import zipfile
from unittest import mock

import numpy as np
import pytest
from helpers.archives import archive, changed, claiming, in_directory, info, overlapping
from helpers.datafiles import rewrite
from helpers.hostile import Case, cases, run_case
from helpers.paxraypp import TAR, tar_of_images, write_archive
from helpers.sampledata import write_tiny

from paxray_lib.data import packing
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.phantoms import sample_dataset
from paxray_lib.quality import survey

CHECK = "check --data-root {here}/d"


def data_file(text):
    """Return what writes a data file alone, of a text or of what becomes JSON."""

    def make(here):
        (here / "d").mkdir()
        content = text if isinstance(text, str) else json.dumps(text)
        (here / "d/paxray.json").write_text(content)

    return make


def labels(label_dict):
    return data_file({"label_dict": label_dict, "train": []})


def item(**fields):
    return data_file({"label_dict": {"0": "heart"}, "train": [{"image": "x.png"} | fields]})


@cases(
    (
        "a second train",
        data_file('{"label_dict": {"0": "heart"}, "train": [], "train": []}'),
        *(CHECK, 2, r"paxray\.json: .*'train' stands twice"),
    ),
    (
        "a second label 0",
        data_file('{"label_dict": {"0": "heart", "0": "aorta"}, "train": []}'),
        *(CHECK, 2, r"paxray\.json: .*'0' stands twice"),
    ),
    (
        "nesting",
        data_file('{"a":' * 50_000),
        *(CHECK, 2, r"paxray\.json: .*nested too deeply"),
    ),
    ("a number of 5000 digits", data_file("9" * 5000), CHECK, 2, r"paxray\.json: .*limit"),
    (
        "no image at all",
        labels({"0": "a"}),
        CHECK,
        1,
        r"error +paxray\.json: no split has an image",
    ),
    ("labels in a list", labels(["heart"]), CHECK, 2, r"paxray\.json: label_dict must be an obj"),
    ("labels 0 and 00", labels({"0": "a", "00": "b"}), CHECK, 2, r"paxray\.json: .* 1 is missing"),
    ("a negative index", labels({"-1": "a"}), CHECK, 2, r"paxray\.json: .* 0 is missing"),
    ("a huge index", labels({"0": "a", "9" * 400: "b"}), CHECK, 2, r"paxray\.json: .* 1 is miss"),
    (
        "a hundred thousand labels",
        lambda here: labels(dict.fromkeys(map(str, range(10**5)), "x"))(here),
        CHECK,
        2,
        r"paxray\.json: .*label.*4096",
    ),
    ("a label that is a list", labels({"0": [["a"]]}), CHECK, 2, r"paxray\.json: .*label name"),
    (
        "more items than any collection",
        lambda here: data_file(
            '{"label_dict": {"0": "a"}, "train": ['
            + '{"image": "a"},' * 500_000
            + '{"image": "a"}]}'
        )(here),
        *(CHECK, 2, r"paxray\.json: .*500001 items, more than the limit"),
    ),
    ("an image that is a number", item(image=7), CHECK, 2, r"train\[0\] has the image 7; it must"),
    ("an image without a name", item(image=""), CHECK, 2, r"train\[0\] has the image ''; it must"),
    ("a target that is a list", item(target=["x"]), CHECK, 2, r"train\[0\] has the target \['x'\]"),
    ("a target without a name", item(target="/"), CHECK, 2, r"train\[0\] has the target '/'"),
    (
        "a view that is a dict",
        item(view={"a": "b" * 9999}),
        CHECK,
        2,
        r"\[0\] has the view .{,99}\n",
    ),
    ("a case that is a list", item(case=["x" * 9999]), CHECK, 2, r"\[0\] has the case .{,99}\n"),
    ("a case that is no number", item(case=float("nan")), CHECK, 2, r"\[0\] has the case nan"),
    (
        "an item that is a list",
        data_file({"label_dict": {"0": "a"}, "train": [[[]]]}),
        CHECK,
        2,
        r"train\[0\] must be an object",
    ),
    (
        "an item of 900 lists",
        data_file('{"label_dict": {"0": "a"}, "train": [' + "[" * 900 + "]" * 900 + "]}"),
        *(CHECK, 2, r"train\[0\] must be an object"),
    ),
    (
        "splits that are no lists",
        data_file({"label_dict": {"0": "a"}, "train": {}}),
        CHECK,
        2,
        "'train' must be a list",
    ),
    (
        "a pipe for a data file",
        lambda here: ((here / "d").mkdir(), os.mkfifo(here / "d/paxray.json")),
        CHECK,
        2,
        "no such data file",
    ),
)
def test_data_files(case, hostile):
    hostile(case)


CHECK_DATA = "check --data-root {data}"


def first(change):
    """Return what changes the first item of the tiny data set: `change(item, root)`."""

    def make(here):
        rewrite(here / "data", lambda content: change(content["train"][0], here / "data"))

    return make


def replaced(name, write):
    """Return what puts something else in the place of a file of the tiny data set."""

    def make(here):
        path = here / "data" / name
        path.rename(here / path.name)
        write(path)

    return make


IMAGE, TARGET = "images/case000frontal.png", "labels/case000frontal.pxm"


@cases(
    (
        "an image outside of the data root",
        first(lambda item, root: item.update(image="../data/" + IMAGE)),
        *(CHECK_DATA, 1, r"error +\.\./data/images/case000frontal\.png: leads outside"),
    ),
    (
        "an absolute target",
        first(lambda item, root: item.update(target=str(root / TARGET))),
        *(CHECK_DATA, 1, r"error +/.*case000frontal\.pxm: leads outside"),
    ),
    (
        "a link that leaves the data root",
        replaced(IMAGE, lambda path: path.symlink_to(path.parents[2] / path.name)),
        *(CHECK_DATA, 1, r"error +images/case000frontal\.png: leads outside.*\n1 errors"),
    ),
    (
        "an image that is a pipe",
        replaced(IMAGE, os.mkfifo),
        CHECK_DATA,
        1,
        "png: a named pipe.*\n1 e",
    ),
    ("a target that is a pipe", replaced(TARGET, os.mkfifo), CHECK_DATA, 1, "pxm: .*\n1 errors"),
    ("a target that is a folder", replaced(TARGET, os.mkdir), CHECK_DATA, 1, "pxm: .*\n1 errors"),
    (
        "an image that is an endless device",
        replaced(IMAGE, lambda path: path.symlink_to("/dev/zero")),
        *(CHECK_DATA, 1, "png: leads outside.*png: a device"),
    ),
    (
        "a null byte in a name",
        first(lambda item, root: item.update(image="a\0b.png", target="a\0b.npy")),
        *(CHECK_DATA, 1, r"b\.png: .*no path of a file.*b\.npy: .*no path of a file"),
    ),
    (
        "a name of 5000 characters",
        first(lambda item, root: item.update(target="x" * 5000 + ".npy")),
        *(CHECK_DATA, 1, r"File name too long.*\n1 errors"),
    ),
    (
        "half a surrogate in a name",
        first(lambda item, root: item.update(image="\ud800.png")),
        *(CHECK_DATA, 1, r"png: .*no path of a file"),
    ),
    (
        "a name that says all is well",
        first(lambda item, root: item.update(image="x\n0 errors, 0 warnings.png")),
        *(CHECK_DATA, 1, r"x\\n0 errors, 0 warnings\.png: no such file"),
    ),
    (
        "masks of two images in one file",
        first(lambda item, root: item.update(target="labels/case000lateral.pxm")),
        *(CHECK_DATA, 1, r"labels/case000lateral\.pxm: the target of images/case000f.*case000lat"),
    ),
)
def test_items_of_a_data_set(case, hostile):
    hostile(case)


PACK = "pack --data-root {here}/d --remove-npy"
FEW = LabelSet(["heart", "aorta"])


def stacks(change):
    """Return what makes a data set of `.npy` stacks and `victim.npy` beside it, then changes it."""

    def make(here):
        write_tiny(here / "d", size=16, labels=FEW, suffix=".npy")
        np.save(here / "victim.npy", np.eye(16, dtype=bool)[None].repeat(2, axis=0))
        change(here / "d")

    return make


def aim(target):
    """Return what makes a stack outside of the data root the target of the first item."""
    return stacks(
        lambda root: rewrite(
            root, lambda content: content["train"][0].update(target=target.format(root=root))
        )
    )


def link_away(root):
    (root / "labels").rename(root.parent / "labels")
    (root / "labels").symlink_to("../labels")


@cases(
    ("a path that climbs out", aim("../victim.npy"), PACK, 1, "victim.npy: leads outside.*13 .npy"),
    (
        "an absolute path",
        aim("{root}/../victim.npy"),
        PACK,
        1,
        "leads outside.*13 packed.*1 failed",
    ),
    ("a path that comes back", aim("labels/../../victim.npy"), PACK, 1, "leads outside.* 1 failed"),
    (
        "a link to a file elsewhere",
        lambda here: (
            aim("labels/x.npy")(here),
            (here / "d/labels/x.npy").symlink_to("../../victim.npy"),
        ),
        *(PACK, 1, "x.npy: leads outside.*13 packed.* 1 failed"),
    ),
    ("a link to a folder elsewhere", stacks(link_away), PACK, 1, "0 packed.* 14 failed"),
    (
        "a pipe for a target",
        lambda here: (aim("labels/x.npy")(here), os.mkfifo(here / "d/labels/x.npy")),
        *(PACK, 1, "x.npy: .*13 packed.* 1 failed"),
    ),
    ("workers without number", stacks(bool), PACK + " --workers 1000000000", 2, "must be 1 to 64"),
    ("fewer workers than none", stacks(bool), PACK + " --workers -1", 2, "must be 1 to 64"),
)
def test_packing_deletes_nothing_outside_of_the_data_root(case, hostile, tmp_path):
    hostile(case)
    assert np.load(tmp_path / "victim.npy").shape == (2, 16, 16)
    kept = len(list((tmp_path / "d/labels/").glob("case*.npy")))
    assert kept == (14 if "14 failed" in case.words or case.code == 2 else 1)


SAMPLE = "sample {here}/s --cases 1 --size 32"


def beside(write):
    """Return what writes something into the folder of the sample."""

    def make(here):
        (here / "s").mkdir()
        write(here / "s")

    return make


@cases(
    (
        "cases without number",
        bool,
        "sample {here}/s --cases 1000000000",
        2,
        "cases must be 1 to 100",
    ),
    ("an image of 10^12 pixels", bool, "sample {here}/s --size 1000000", 2, "size must be 32 to 2"),
    (
        "a seed of 24 digits",
        bool,
        SAMPLE + " --seed 9" + "0" * 24,
        2,
        "seed must be 0 to .*, got 9",
    ),
    ("a negative seed", bool, SAMPLE + " --seed -1", 2, "seed must be 0 to .*, got -1"),
    ("a file for a folder", lambda here: (here / "s").touch(), SAMPLE, 2, "s: is a file"),
    (
        "data files of someone else",
        beside(lambda folder: (folder / "paxray_half.json").write_text("mine")),
        *(SAMPLE, 2, r"paxray_half\.json: is there already"),
    ),
    (
        "a link to images elsewhere",
        beside(lambda folder: (folder / "images").symlink_to("/tmp")),
        *(SAMPLE, 2, "s/images: is there already"),
    ),
    (
        "a link to where nothing is",
        beside(lambda folder: (folder / "labels").symlink_to("../elsewhere")),
        *(SAMPLE, 2, "s/labels: leads outside"),
    ),
    (
        "a record that is a pipe",
        beside(lambda folder: os.mkfifo(folder / "sample.json")),
        *(SAMPLE, 2, r"sample\.json: a named pipe"),
    ),
    (
        "a record that says two things",
        beside(lambda folder: (folder / "sample.json").write_text('{"seed": 0, "seed": 1}')),
        *(SAMPLE, 2, r"sample\.json: .*'seed' stands twice"),
    ),
    (
        "a record of something else",
        beside(
            lambda folder: (folder / "sample.json").write_text(json.dumps({"seed": "x" * 9999}))
        ),
        *(SAMPLE, 2, r"sample\.json: a sample of other settings.{,400}choose another folder"),
    ),
)
def test_samples(case, hostile):
    hostile(case)


FETCH = "fetch dataset --to {here}/new/paxray --archive {here}/x.zip"
REFUSED = (FETCH, 2, r"x\.zip: .*do not use this archive")
ONE_FILE = (FETCH, 2, r"x\.zip: .*are one file")
DAMAGED = (FETCH, 2, r"x\.zip: damaged or cut short")
PLAIN = archive(("a.bin", b"content"), ("b.bin", b"content"))


@cases(
    ("a path that climbs out", archive(("../x", b"")), *REFUSED),
    ("an absolute path", archive(("/etc/x", b"")), *REFUSED),
    ("a path that climbs out by backslashes", archive(("..\\x", b"")), *REFUSED),
    ("a drive letter", archive(("c:/x", b"")), *REFUSED),
    ("a name cut by a null byte", archive((info("x.png\0.exe"), b"")), *REFUSED),
    ("a name of 300 bytes", archive(("ü" * 150, b"")), *REFUSED),
    ("a path of 1000 folders", archive(("a/" * 1000 + "x", b"")), *REFUSED),
    ("no name", archive((info("."), b"")), *REFUSED),
    ("a link", archive((info("x", external_attr=0o120777 << 16), b"/etc/passwd")), *REFUSED),
    ("a device", archive((info("x", external_attr=0o020666 << 16), b"")), *REFUSED),
    ("overlapping entries", overlapping, *REFUSED),
    ("an entry twice", changed(PLAIN, lambda data: data.replace(b"b.bin", b"a.bin")), *ONE_FILE),
    ("names that differ by case", archive(("images/X.png", b""), ("Images/x.png", b"")), *ONE_FILE),
    ("two forms of a letter", archive(("\u00e9.png", b""), ("e\u0301.png", b"")), *ONE_FILE),
    ("a file that is a folder too", archive(("a", b""), ("a/b", b"")), *ONE_FILE),
    ("a path with a detour", archive(("a/x", b""), ("a/./x", b"")), *ONE_FILE),
    (
        "an encrypted entry",
        changed(PLAIN, in_directory(8, b"\1")),
        FETCH,
        2,
        r"x\.zip: .*encrypted",
    ),
    (
        "bzip2",
        archive(method=zipfile.ZIP_BZIP2),
        FETCH,
        2,
        r"x\.zip: .*method 12 of zip; make a pl",
    ),
    ("lzma", archive(method=zipfile.ZIP_LZMA), FETCH, 2, r"x\.zip: .*method 14 of zip"),
    ("zstd", changed(PLAIN, in_directory(10, b"\x5d")), FETCH, 2, r"x\.zip: .*method 93 of zip"),
    ("a size of zip64 that cannot be", claiming(1, 2**63), FETCH, 2, "x.zip: .*more than any PAXR"),
    ("200,000 entries", claiming(200_000, 0), FETCH, 2, r"x\.zip: claims 200001 files"),
    ("content beyond the end", changed(PLAIN, in_directory(20, b"\0\0\0\x7f")), *DAMAGED),
    ("an entry beyond the end", changed(PLAIN, in_directory(42, b"\0\0\0\x7f")), *DAMAGED),
    ("a page for an archive", lambda here: (here / "x.zip").write_text("<html>"), *DAMAGED),
    ("an archive that is cut", changed(PLAIN, lambda data: data[:-30]), *DAMAGED),
    ("an archive that is empty", lambda here: (here / "x.zip").touch(), *DAMAGED),
    (
        "a pipe for an archive",
        lambda here: os.mkfifo(here / "x.zip"),
        FETCH,
        2,
        "x.zip: a named pipe",
    ),
    ("no archive", bool, FETCH, 2, r"x\.zip: no such file"),
    (
        "archives in an archive",
        lambda here: zip_of_zips(here),
        FETCH,
        2,
        r"x\.zip: holds no paxray",
    ),
    (
        "two data sets",
        lambda here: zip_of(here, {"a/paxray.json": "{}", "b/paxray.json": "{}"}),
        *(FETCH, 2, r"x\.zip: holds two data sets, 'a' and 'b'"),
    ),
)
def test_archives_that_are_refused_before_anything_is_written(case, hostile, tmp_path):
    hostile(case)
    assert not (tmp_path / "new").exists()


def zip_of(here, contents):
    with zipfile.ZipFile(here / "x.zip", "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)


def zip_of_zips(here):
    zip_of(here, {"x": ""})
    zip_of(here, dict.fromkeys("abc", (here / "x.zip").read_bytes()))


@cases(
    (
        "a bit of the content",
        changed(PLAIN, lambda d: d.replace(b"content", b"c0ntent", 1)),
        *DAMAGED,
    ),
    (
        "another name in the entry",
        changed(PLAIN, lambda d: d.replace(b"a.bin", b"z.bin", 1)),
        *DAMAGED,
    ),
    ("a size of zip64 without its field", changed(PLAIN, in_directory(24, b"\xff" * 4)), *DAMAGED),
    ("a size too large", changed(PLAIN, in_directory(24, b"\x09")), *DAMAGED),
    ("a size too small", changed(PLAIN, in_directory(24, b"\x05")), *DAMAGED),
)
def test_archives_of_which_nothing_appears(case, hostile, tmp_path):
    hostile(case)
    assert not (tmp_path / "new/paxray").exists()


PAXRAYPP = FETCH + " --which paxraypp"


def paxraypp(change=bool):
    """Return what writes an archive of PAX-Ray++, changed."""
    return lambda here: write_archive(here / "x.zip", change)


def with_tar(make):
    return paxraypp(lambda content: content.update({TAR: make()}))


def tar_entry(name="images_patlas/x.png", **fields):
    """Return what makes the tar of images with one more entry."""
    entry = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(entry, key, value)
    return lambda: tar_of_images(entry)


def tar_with_header(claimed):
    """Return a tar whose first entry is an extended header that claims so many bytes."""
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, claimed
    return lambda: entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def with_json(change, name="paxray_train_val.json"):
    def edit(content):
        parsed = json.loads(content[name])
        change(parsed)
        content[name] = json.dumps(parsed).encode()

    return paxraypp(edit)


BAD_TAR = (PAXRAYPP, 2, r"unfiltered\.tar\.gz: no tar file, damaged, or cut short")
OUTSIDE = (PAXRAYPP, 2, r"unfiltered\.tar\.gz: .*do not use this archive")


@cases(
    ("a path that climbs out", with_tar(tar_entry("images_patlas/../../x.png")), *OUTSIDE),
    ("an absolute path", with_tar(tar_entry("/tmp/x.png")), *OUTSIDE),
    ("a link", with_tar(tar_entry(type=tarfile.SYMTYPE, linkname="/etc/passwd")), *OUTSIDE),
    ("a hard link", with_tar(tar_entry(type=tarfile.LNKTYPE, linkname="../x")), *OUTSIDE),
    ("a device", with_tar(tar_entry(type=tarfile.CHRTYPE)), *OUTSIDE),
    ("a pipe", with_tar(tar_entry(type=tarfile.FIFOTYPE)), *OUTSIDE),
    ("a size beyond the end", with_tar(tar_entry(size=1 << 40)), *BAD_TAR),
    ("a header of 7 GB", with_tar(tar_with_header(7 << 30)), *BAD_TAR),
    ("a tar that is cut in a picture", with_tar(lambda: tar_of_images()[:2200]), *BAD_TAR),
    (
        "a tar that is cut at a header",
        with_tar(lambda: tar_of_images()[:512]),
        *(PAXRAYPP, 2, r"unfiltered\.tar\.gz: damaged or cut short"),
    ),
    (
        "a damaged header",
        with_tar(lambda: tar_of_images().replace(b"ustar", b"\xff" * 5)),
        *(PAXRAYPP, 2, r"unfiltered\.tar\.gz: (damaged|no tar file, damaged,) or cut short"),
    ),
    ("no tar", with_tar(lambda: b"hello" * 999), *BAD_TAR),
    ("an empty tar", with_tar(bytes), *BAD_TAR),
    (
        "no images",
        paxraypp(lambda content: content.pop(TAR)),
        *(PAXRAYPP, 2, r"holds no folder images_patlas"),
    ),
    (
        "no test images",
        paxraypp(lambda content: content.pop("paxray_test.json")),
        *(PAXRAYPP, 2, r"paxray_test\.json: no such file"),
    ),
    ("the archive of PAXRay", PLAIN, PAXRAYPP, 2, r"x\.zip: holds no paxray_train_val\.json"),
    ("an archive that is cut", changed(paxraypp(), lambda d: d[:-30]), PAXRAYPP, 2, "x.zip: dam"),
    (
        "a COCO file that is cut",
        paxraypp(lambda c: c.update({"paxray_test.json": c["paxray_test.json"][:-9]})),
        *(PAXRAYPP, 2, r"paxray_test\.json: not a JSON object.*cut short"),
    ),
    (
        "other categories in one of the files",
        with_json(lambda content: content["categories"].pop()),
        *(PAXRAYPP, 2, r"paxray_test\.json: other categories than"),
    ),
    ("a pipe for an archive", lambda here: os.mkfifo(here / "x.zip"), PAXRAYPP, 2, "a named pipe"),
    ("no archive", bool, PAXRAYPP, 2, r"x\.zip: no such file"),
    (
        "another data set",
        bool,
        FETCH + " --which cxas",
        2,
        r"--which 'cxas': unknown \(one of paxray, ",
    ),
)
def test_archives_of_paxraypp_of_which_nothing_appears(case, hostile, tmp_path):
    hostile(case)
    assert not list(tmp_path.glob("new/*")) + list(tmp_path.glob("new/.*.source"))


@cases(
    (
        "an image outside",
        with_json(lambda content: content["images"][3].update(file_name="../x.png")),
        *(PAXRAYPP, 1, r"'\.\./x\.png': no path below.*14 imported, 0 skipped, 1 failed"),
    ),
    (
        "a mask of another size",
        with_json(lambda content: content["annotations"][0]["segmentation"].update(size=[9, 9])),
        *(PAXRAYPP, 1, r"case_000_frontal\.png: not its masks.*14 imported, 0 skipped, 1 failed"),
    ),
    ("a sound one", paxraypp(), PAXRAYPP, 0, r"15 imported, 0 skipped, 0 failed.*CC BY-NC-SA"),
)
def test_archives_of_paxraypp(case, hostile, tmp_path):
    hostile(case)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["paxray"]


@contextlib.contextmanager
def at_call(count, owner, name, event):
    """Let a function cause an event when it is called for that time, and else do its work."""
    work, calls = getattr(owner, name), []

    def eventful(*arguments, **options):
        calls.append(1)
        if len(calls) == count:
            event()
        return work(*arguments, **options)

    with mock.patch.object(owner, name, eventful):
        yield


def disk_is_full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def hang_up():
    os.kill(os.getpid(), signal.SIGHUP)


def small_archive(here):
    stacks(bool)(here)
    zip_of(here, {str(p.relative_to(here)): p.read_bytes() for p in here.glob("d/**/*.*")})


WORK = {
    "sample": (bool, "sample {here}/s --cases 2 --size 32", (3, sample_dataset, "atomic_write")),
    "pack": (stacks(bool), PACK, (5, packing.PackedMasks, "write")),
    "fetch": (small_archive, FETCH, (5, zipfile.ZipFile, "open")),
    "fetch paxraypp": (paxraypp(), PAXRAYPP, (2, zipfile.ZipFile, "open")),
    "check": (stacks(bool), CHECK, (5, survey, "read_image")),
}


@pytest.mark.parametrize(
    ("name", "event", "words"),
    [
        *((name, terminate, "stopped by SIGTERM") for name in WORK),
        *((name, hang_up, "stopped by SIGHUP") for name in WORK),
        *((name, disk_is_full, "No space left on device; free some space") for name in WORK),
    ][:-1],  # `check` writes nothing
)
def test_events_end_a_command_in_order_and_the_same_again_goes_on(
    name, event, words, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # no processes of their own
    make, command, place = WORK[name]
    make(tmp_path)
    with at_call(*((3, os, "replace") if event is disk_is_full else place), event):
        run_case(Case("event", bool, command, 3, f"^paxray: [^\n]*{words}[^\n]*\n$"), here=tmp_path)
    assert not list(tmp_path.rglob("*.part*"))
    assert not (tmp_path / "new/paxray").exists()
    run_case(Case("again", bool, command, 0, ""), here=tmp_path)
    for path in tmp_path.rglob("*.pxm"):
        PackedMasks.read(path)
