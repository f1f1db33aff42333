import errno
import functools
import http.server
import io
import json
import os
import shutil
import threading
import zipfile

import pytest
import torch
from helpers.paxraypp import write_archive
from helpers.sampledata import write_tiny

from paxray_lib.data import unpack as unpacking
from paxray_lib.data.fetch import fetch_dataset, fetch_weights, paxraypp_files
from paxray_lib.data.unpack import unpack
from paxray_lib.labels.table import CXAS_LABELS
from paxray_lib.models import build_model, load_model
from paxray_lib.quality.check import check_dataset
from paxray_lib.utils import drive, is_disk_full, lock
from paxray_lib.utils.drive import download
from paxray_lib.utils.files import sha256


class Server(http.server.ThreadingHTTPServer):
    """Serves one content with ranges.

    The first `cuts` answers have at most `cut` bytes, by default none. `announces`: says how long
    an answer is. `statuses`: by path, instead of the content. `stalls`: waits after its first byte.
    """

    def __init__(self, content, cut=0, cuts=0, announces=True, statuses=None, stalls=False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.cuts, self.announces = content, cut, cuts, announces
        self.statuses, self.stalls, self.ranges = statuses or {}, stalls, []
        self.ends = threading.Event()

    def at(self, path):
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    @property
    def url(self):
        return self.at("paxray_dataset.zip")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, start = self.server, 0
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        status = server.statuses.get(self.path, 206 if asked else 200)
        if asked:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            if start >= len(server.content):
                status = 416
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", server.statuses["to"])
        body = server.content[start:] if status in (200, 206) else b""
        if server.announces:
            self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            )
        self.end_headers()
        if server.cuts:
            server.cuts -= 1
            body = body[: server.cut]
        if server.stalls:
            self.wfile.write(body[:1])
            server.ends.wait(20)
        else:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(content, **options):
        server = Server(content, **options)
        threading.Thread(
            target=functools.partial(server.serve_forever, poll_interval=0.01), daemon=True
        ).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.ends.set()
        server.shutdown()
        server.server_close()


def make_archive(path, source, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(source.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + str(file.relative_to(source)))
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    write_tiny(folder / "data", suffix=".npy")
    return make_archive(folder / "paxray_dataset.zip", folder / "data", "paxray_dataset/")


def test_a_local_archive_becomes_a_data_set(archive, tmp_path):
    root = fetch_dataset(tmp_path / "deep" / "paxray", archive)
    assert root == tmp_path / "deep" / "paxray"
    assert check_dataset(root) == []
    record = json.loads((root / "fetched.json").read_text())
    assert record["sha256"] == sha256(archive)
    assert record["source"] == str(archive)
    assert [path.name for path in root.parent.iterdir()] == ["paxray"]
    with pytest.raises(FileExistsError, match="paxray check"):
        fetch_dataset(root, archive)


def test_a_truncated_archive_is_refused_and_leaves_no_data_set(archive, tmp_path):
    broken = tmp_path / "broken.zip"
    broken.write_bytes(archive.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"broken\.zip: damaged or cut short"):
        fetch_dataset(tmp_path / "paxray", broken)
    assert not (tmp_path / "paxray").exists()


def test_a_flipped_bit_is_found(archive, tmp_path):
    content = bytearray(archive.read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(ValueError, match="damaged or cut short"):
        fetch_dataset(tmp_path / "paxray", tmp_path / "bad.zip")
    assert not (tmp_path / "paxray").exists()


@pytest.mark.parametrize(
    "name", [".", "../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "c:/evil.txt"]
)
def test_paths_outside_are_refused_before_anything_is_written(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("paxray.json", "{}")
        archive.writestr(name, "evil")
    with pytest.raises(ValueError, match="do not use this archive"):
        unpack(tmp_path / "x.zip", tmp_path / "in" / "paxray")
    assert [path.name for path in tmp_path.rglob("*")] == ["x.zip"]


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("paxray.json")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="no plain file"):
        unpack(tmp_path / "x.zip", tmp_path / "paxray")


def test_a_file_whose_name_is_cut_to_that_of_a_folder_is_not_lost(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("paxray.json", "{}")
        file.writestr("images/xfrontal.png", b"pixels")
    content = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(content.replace(b"images/x", b"images/\0"))
    with pytest.raises(ValueError, match="no plain file"):
        unpack(tmp_path / "x.zip", tmp_path / "paxray")


def test_a_member_without_a_name_is_refused(tmp_path):
    nameless = zipfile.ZipInfo("x")
    nameless.filename = ""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(nameless, "evil")
    with pytest.raises(ValueError, match="do not use this archive"):
        unpack(tmp_path / "x.zip", tmp_path / "paxray")


def test_a_folder_that_is_named_like_the_hidden_one_is_never_deleted(archive, tmp_path):
    unpack_and_stop(archive, tmp_path / "paxray", 1)
    (own,) = tmp_path.glob(".paxray.*.unpacking")
    shutil.rmtree(own)
    for folder in (own, tmp_path / ".paxray.0123456789ab.unpacking"):
        folder.mkdir()
        (folder / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=rf"{own.name}: needed here, but not made by"):
        unpack(archive, tmp_path / "paxray")
    own.rename(tmp_path / "elsewhere")
    unpack(archive, tmp_path / "paxray")
    assert len(list(tmp_path.rglob("thesis.txt"))) == 2


def test_two_that_unpack_to_one_folder_do_not_mix(archive, tmp_path):
    unpack_and_stop(archive, tmp_path / "paxray", 1)
    (hidden,) = tmp_path.glob(".paxray.*.unpacking")
    with lock(hidden), pytest.raises(ValueError, match="another process is working"):
        unpack(archive, tmp_path / "paxray")


@pytest.mark.parametrize("place", ["", "..", "file", "file/x", "mine", "link"])
def test_a_target_that_cannot_be_made_is_named_before_anything_is_done(
    archive, tmp_path, monkeypatch, place
):
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    (tmp_path / "file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    (tmp_path / "link").symlink_to("mine")
    before = set(tmp_path.rglob("*"))
    to = working if place == "" else tmp_path / place
    with pytest.raises((ValueError, OSError), match=r"working|tmp|file"):
        fetch_dataset(to, archive)
    assert set(tmp_path.rglob("*")) == before


def test_an_encrypted_archive_is_refused(archive, tmp_path):
    content = bytearray(archive.read_bytes())
    # the first member's flag in the directory at the end
    content[content.find(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.zip: .* is encrypted"):
        unpack(tmp_path / "x.zip", tmp_path / "paxray")


def unpack_and_stop(archive, to, count):
    """Interrupt unpacking, as by Ctrl-C, once `count` files have been extracted."""
    opened, done = zipfile.ZipFile.open, []

    def stops(*arguments):
        if len(done) == count:
            raise KeyboardInterrupt
        done.append(arguments)
        return opened(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "open", stops)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, to)


def test_nothing_of_another_archive_stays(archive, tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("paxray_dataset/stray.txt", "x")
        other.writestr("paxray_dataset/paxray.json", "{}")
        other.writestr("b.txt", "x")
    unpack_and_stop(tmp_path / "other.zip", tmp_path / "paxray", 1)
    root = unpack(archive, tmp_path / "paxray")
    assert not list(root.rglob("stray.txt"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.zip", "paxray"]


def test_size_is_bounded(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="more than any PAXRay data set"):
        unpack(archive, tmp_path / "paxray")


def test_another_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"no paxray\.json"):
        unpack(tmp_path / "x.zip", tmp_path / "paxray")
    (tmp_path / "no.zip").write_text("not a zip")
    with pytest.raises(ValueError, match="damaged"):
        unpack(tmp_path / "no.zip", tmp_path / "paxray")


def test_interrupted_unpacking_goes_on(archive, tmp_path):
    unpack_and_stop(archive, tmp_path / "paxray", 5)
    assert not (tmp_path / "paxray").exists()
    partial = next(tmp_path.glob(".paxray.*.unpacking"))
    first, second = sorted(partial.rglob("*.png"))[:2]
    stamp = first.stat().st_mtime_ns
    second.write_bytes(second.read_bytes()[:-1])  # cut short by the interruption
    root = unpack(archive, tmp_path / "paxray")
    assert check_dataset(root) == []
    assert next(root.rglob(first.name)).stat().st_mtime_ns == stamp


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_file_of_wrong_content_does_not_count_as_extracted(tmp_path, compression):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", compression) as archive:
        archive.writestr("paxray.json", "{}" * 100_000)
        archive.writestr("big.bin", bytes(range(256)) * 2000)
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[60] ^= 1
    (tmp_path / "x.zip").write_bytes(content)
    for _ in range(2):  # the second call goes on where the first one stopped
        with pytest.raises(ValueError, match="damaged or cut short"):
            unpack(tmp_path / "x.zip", tmp_path / "paxray")


def test_a_file_larger_than_it_claims_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("paxray.json", "{}" * 100_000)
    content = bytearray((tmp_path / "x.zip").read_bytes())
    size = (200_000).to_bytes(4, "little")
    assert content.count(size) == 2  # in the member's header and in the directory at the end
    (tmp_path / "x.zip").write_bytes(content.replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="damaged or cut short"):
        unpack(tmp_path / "x.zip", tmp_path / "paxray")
    assert all(path.stat().st_size <= 1000 for path in tmp_path.rglob("paxray.json"))


@pytest.fixture(scope="module")
def content():
    """A zip file of several of the blocks in which gdown writes; it ends with a whole one."""
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("x.bin", "x")
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("big.bin", bytes(range(256)) * 16_000)
        archive.writestr("inner.zip", inner.getvalue())
    return outer.getvalue()


def starts(server):
    return [int(asked.split("=")[1].split("-")[0]) if asked else 0 for asked in server.ranges]


@pytest.mark.parametrize("announces", [True, False])
def test_download_goes_on_where_it_stopped(serve, tmp_path, content, announces):
    server = serve(content, cut=1_500_000, cuts=2, announces=announces)
    with pytest.raises(OSError, match="try again"):
        download(server.url, tmp_path / "x.zip", retries=0)
    assert not (tmp_path / "x.zip").exists()
    server.cuts = 0 if not announces else 1
    assert download(server.url, tmp_path / "x.zip", retries=2).read_bytes() == content
    assert starts(server)[0] == 0
    assert starts(server)[-1] >= 1_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_what_a_stopped_download_has_whole_is_taken(serve, tmp_path, content):
    folder = tmp_path / ".x.zip.download"
    folder.mkdir()
    (folder / "fileabcdefgh.part").write_bytes(content)
    server = serve(content)  # which would answer 416
    assert download(server.url, tmp_path / "x.zip", retries=0).read_bytes() == content
    assert server.ranges == []


@pytest.mark.parametrize("kind", ["zip", "checkpoint"])
def test_a_part_is_no_whole_though_it_looks_like_one(serve, tmp_path, content, kind):
    folder = tmp_path / ".x.zip.download"
    folder.mkdir()
    end = content.index(b"PK\x05\x06") + 22  # of the inner archive
    if kind == "checkpoint":
        content = b"\x80\x02" + content[2:]
    (folder / "fileabcdefgh.part").write_bytes(content[:end])
    server = serve(content)
    assert download(server.url, tmp_path / "x.zip", retries=0).read_bytes() == content
    assert starts(server) == [0, end]


PAGE = b"<html><head><title>Google Drive -\n Quota exceeded</title></head></html>"


@pytest.mark.parametrize("announces", [True, False])
@pytest.mark.parametrize("page", [PAGE, b"", b"P"])
def test_a_page_is_no_archive_and_nothing_of_it_stays(serve, tmp_path, content, page, announces):
    server = serve(page, announces=announces)
    reason = "Google Drive - Quota exceeded" if page == PAGE else "neither a zip file"
    with pytest.raises(OSError, match=rf"x\.zip: not downloaded .*{reason}"):
        download(server.url, tmp_path / "x.zip", retries=0)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".zip", ".part")]
    server.content = content
    assert download(server.url, tmp_path / "x.zip", retries=0).read_bytes() == content


@pytest.mark.parametrize("status", [404, 403, 416, 500, 503])
def test_what_a_server_refuses_is_said_and_a_part_stays(serve, tmp_path, content, status):
    server = serve(content, cut=1_500_000, cuts=1)
    with pytest.raises(OSError, match="try again"):
        download(server.url, tmp_path / "x.zip", retries=0)
    server.statuses["/paxray_dataset.zip"] = status
    with pytest.raises(OSError, match=rf"x\.zip: not downloaded \({status} "):
        download(server.url, tmp_path / "x.zip", retries=0)
    server.statuses.clear()
    assert download(server.url, tmp_path / "x.zip", retries=0).read_bytes() == content
    assert starts(server)[-1] >= 1_000_000


def test_redirects_are_followed_but_not_for_ever_nor_to_files(serve, tmp_path, content):
    statuses = {"/moved": 302}
    server = serve(content, statuses=statuses)
    statuses["to"] = "/paxray_dataset.zip"
    path = download(server.at("moved"), tmp_path / "x.zip", retries=0)
    assert path.read_bytes() == content
    for place, problem in (("/moved", "redirects"), ("file:///etc/passwd", "file:///etc/passwd")):
        statuses["to"] = place
        with pytest.raises(OSError, match=rf"y\.zip: not downloaded .*{problem}"):
            download(server.at("moved"), tmp_path / "y.zip", retries=0)


def test_a_server_that_falls_silent_or_says_too_little_is_left(
    serve, tmp_path, content, monkeypatch
):
    monkeypatch.setattr(drive, "TIMEOUT_S", 0.3)
    with pytest.raises(OSError, match=r"x\.zip: not downloaded .*timed out"):
        download(serve(content, stalls=True).url, tmp_path / "x.zip", retries=0)


def test_a_server_that_is_not_there_is_one_clear_error(tmp_path):
    with pytest.raises(OSError, match=r"x\.zip: not downloaded"):
        download("http://127.0.0.1:9/x.zip", tmp_path / "x.zip", retries=0)


def test_two_downloads_of_one_file_do_not_mix(serve, tmp_path, content):
    with (
        lock(tmp_path / ".x.zip.download"),
        pytest.raises(ValueError, match="another process is working"),
    ):
        download(serve(content).url, tmp_path / "x.zip", retries=0)


def test_a_full_disk_during_a_download_is_no_fault_of_the_server(
    serve, tmp_path, content, monkeypatch
):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("gdown.download", full)
    with pytest.raises(OSError, match=r"No space left on device: .*x\.zip") as error:
        download(serve(content).url, tmp_path / "x.zip", retries=0)
    assert is_disk_full(error.value)


def test_without_drive_the_error_says_how_to_do_it_by_hand(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError("no route to host\nand much more")

    monkeypatch.setattr("gdown.download_folder", refused)
    with pytest.raises(OSError, match=r"use --archive FILE .*1rzlsZ0b.*no route to host\)"):
        fetch_dataset(tmp_path / "paxray")


class Listed:
    def __init__(self, path, id):
        self.path, self.id = path, id


def test_drive_listing_leads_to_the_archive(archive, serve, tmp_path, monkeypatch):
    server = serve(archive.read_bytes())
    monkeypatch.setattr(
        "gdown.download_folder",
        lambda **_: [Listed("notes.txt", "a"), Listed("sub/paxray_dataset.zip", "b")],
    )
    asked = []
    real = drive.download
    monkeypatch.setattr(
        drive, "download", lambda url, path: (asked.append(url), real(server.url, path))[1]
    )
    root = fetch_dataset(tmp_path / "paxray")
    assert asked == ["https://drive.google.com/uc?id=b"]
    assert check_dataset(root) == []
    assert (tmp_path / "paxray_dataset.zip").is_file()


@pytest.mark.parametrize(
    ("names", "which", "expected"),
    [
        (["full.pth", "half.pth", "quarter.pth"], "half", "half.pth"),
        (["w/paxray.pth", "w/paxray_half.pth", "w/paxray_quarter.pth"], "full", "w/paxray.pth"),
        (["unet_100.pth", "unet_50.pth", "unet_25.pth"], "quarter", "unet_25.pth"),
    ],
)
def test_weights_are_chosen_by_name(tmp_path, monkeypatch, names, which, expected):
    listed = [Listed(name, name) for name in [*names, "readme.txt"]]
    asked = []

    def refused(url, *_, **__):
        asked.append(url)
        raise OSError("enough")

    monkeypatch.setattr("gdown.download_folder", lambda **_: listed)
    monkeypatch.setattr("gdown.download", refused)
    with pytest.raises(OSError, match="enough"):
        fetch_weights(which, tmp_path)
    assert asked == [f"https://drive.google.com/uc?id={expected}"]


def test_ambiguous_weights_list_what_is_there(tmp_path, monkeypatch):
    listed = [Listed("a.pth", "1"), Listed("b.pth", "2")]
    monkeypatch.setattr("gdown.download_folder", lambda **_: listed)
    with pytest.raises(OSError, match=r"a\.pth, b\.pth"):
        fetch_weights("full", tmp_path)


def test_weights_that_do_not_load_are_refused(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"nothing")
    (tmp_path / "to").mkdir()
    (tmp_path / "to/paxray_full.pth").write_bytes(b"good ones, fetched before")
    with pytest.raises(ValueError, match=r"w\.pth: cannot be read"):
        fetch_weights("full", tmp_path / "to", tmp_path / "w.pth")
    assert [path.read_bytes() for path in (tmp_path / "to").iterdir()] == [
        b"good ones, fetched before"
    ]
    with pytest.raises(ValueError, match="one of full, half, quarter"):
        fetch_weights("all", tmp_path / "to", tmp_path / "w.pth")
    with pytest.raises(FileNotFoundError, match=r"no\.pth"):
        fetch_weights("full", tmp_path / "to", tmp_path / "no.pth")


@pytest.fixture(scope="module")
def cxas_file(tmp_path_factory):
    """Weights in CXAS's layout; every tensor is one stored number, so that the file is small."""
    with torch.device("meta"):
        state = build_model("paxray_unet", CXAS_LABELS).network.state_dict()
    path = tmp_path_factory.mktemp("cxas") / "model.pth"
    fields = {
        key: torch.full((), 0.5, dtype=value.dtype).expand(value.shape)
        for key, value in state.items()
    }
    torch.save({"model": fields}, path)
    return path


def test_cxas_is_taken_from_a_local_file_and_its_licence_said(cxas_file, tmp_path, capsys):
    file = fetch_weights("cxas", tmp_path, cxas_file)
    assert file == tmp_path / "cxas.pth"
    assert load_model(file).labels == CXAS_LABELS
    assert "CC BY-NC-SA 4.0" in capsys.readouterr().out
    assert json.loads((tmp_path / "cxas.json").read_text())["sha256"] == sha256(cxas_file)


def test_cxas_is_downloaded_by_its_id(cxas_file, tmp_path, monkeypatch):
    def download(url, path, **_):
        assert url == "https://drive.google.com/uc?id=1Y9zubvMzkYHoAqz-NvV6vniH5FKAF2iV"
        shutil.copyfile(cxas_file, path)

    monkeypatch.setattr("gdown.download", download)
    assert load_model(fetch_weights("cxas", tmp_path)).labels == CXAS_LABELS


def test_cxas_that_is_refused_says_where_to_get_it(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError("too many users")

    monkeypatch.setattr("gdown.download", refused)
    with pytest.raises(OSError, match=r"use --archive FILE .*uc\?id=1Y9z.*too many users"):
        fetch_weights("cxas", tmp_path)
    assert not (tmp_path / "cxas.pth").exists()


def test_paxraypp_is_downloaded_by_its_id_and_goes_on(serve, tmp_path, monkeypatch):
    write_archive(tmp_path / "x.zip", padding=2_000_000)
    server, real, asked = serve((tmp_path / "x.zip").read_bytes()), drive.download, []
    server.cut, server.cuts = 1_500_000, 1

    def from_server(url, path):
        asked.append(url)
        return real(server.url, path, retries=0)

    monkeypatch.setattr(drive, "download", from_server)
    with (
        pytest.raises(OSError, match=r"use --archive FILE .*uc\?id=19DF.*not downloaded"),
        paxraypp_files(tmp_path / "to"),
    ):
        pass
    with paxraypp_files(tmp_path / "to") as folder:
        names = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
        assert {"paxray_train_val.json", "paxray_test.json"} < names
        assert "images_patlas/case_001_frontal.png" in names
        assert not {"labels.zip", "paxray_images_unfiltered.tar.gz"} & names
        (tmp_path / "to").mkdir()
    assert asked == ["https://drive.google.com/uc?id=19DFGtzsReEehuccncofGZTkWRdeiaiZF"] * 2
    assert starts(server)[-1] >= 1_000_000
    assert not folder.exists()
    record = json.loads((tmp_path / "to/fetched.json").read_text())
    assert record["sha256"] == sha256(tmp_path / "x.zip")


def test_cxas_and_paxrays_weights_are_not_taken_for_each_other(cxas_file, tmp_path):
    with pytest.raises(ValueError, match="159 labels, not the weights 'full'"):
        fetch_weights("full", tmp_path, cxas_file)
    assert list(tmp_path.iterdir()) == []
