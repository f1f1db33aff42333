"""Archives that are not onnxruntime-web, and places that a page cannot have."""

import tarfile

from helpers.hostile import cases
from helpers.ort_web import write_archive

LIVE = "export live --runtime {here}/ort.tgz --weights {weights} --out {here}/live.html"
MODULE, PACKAGE = "package/dist/ort.wasm.bundle.min.mjs", "package/package.json"


def archive(**changes):
    """Return what writes an archive with other files."""
    return lambda here: write_archive(here / "ort.tgz", **changes)


def cut(here):
    path = write_archive(here / "ort.tgz")
    path.write_bytes(path.read_bytes()[:200])


def link(here):
    with tarfile.open(here / "ort.tgz", "w:gz") as file:
        for name in (PACKAGE, MODULE, "package/dist/ort-wasm-simd-threaded.wasm"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(info)


@cases(
    ("no archive", lambda _: None, LIVE, 2, r"ort\.tgz: no such file"),
    ("an empty one", lambda here: (here / "ort.tgz").touch(), LIVE, 2, r"ort\.tgz: no archive of"),
    (
        "a text",
        lambda here: (here / "ort.tgz").write_text("no such package"),
        *(LIVE, 2, r"ort\.tgz: no archive of onnxruntime-web .*npm pack onnxruntime-web"),
    ),
    ("a folder", lambda here: (here / "ort.tgz").mkdir(), LIVE, 2, r"ort\.tgz: a folder, but a fi"),
    ("an archive cut short", cut, LIVE, 2, r"ort\.tgz: no archive of onnxruntime-web"),
    ("an archive without its module", archive(**{MODULE: None}), LIVE, 2, r"bundle\.min\.mjs.*npm"),
    ("an archive of links", link, LIVE, 2, r"ort\.tgz: no archive of onnxruntime-web"),
    (
        "another package",
        archive(**{PACKAGE: '{"name": "left-pad", "version": "1"}'}),
        *(LIVE, 2, r"ort\.tgz: no archive of onnxruntime-web \(its name is 'left-pad'\)"),
    ),
    (
        "a package that is no object",
        archive(**{PACKAGE: "[1]"}),
        *(LIVE, 2, r"ort\.tgz: no archive of onnxruntime-web"),
    ),
    ("a name of another kind", archive(), f"{LIVE}.pdf", 2, "a page is written under a name"),
    (
        "no weights",
        archive(),
        LIVE.replace("{weights}", "{here}/no.ckpt"),
        *(2, r"no\.ckpt: no such file of weights"),
    ),
)
def test_export_live(case, hostile):
    hostile(case)
