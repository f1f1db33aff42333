import functools
import http.server
import json
import threading
import zipfile

import pytest
from helpers.sampledata import write_tiny

from paxray_lib.data import fetch
from paxray_lib.data.fetch import fetch_dataset, fetch_weights, unpack
from paxray_lib.quality.check import check_dataset
from paxray_lib.utils import drive
from paxray_lib.utils.drive import download
from paxray_lib.utils.files import sha256


class Server(http.server.ThreadingHTTPServer):
    """Serves one content with ranges; `cut` bytes at most in each of the first `cuts` answers."""

    def __init__(self, content, cut=None, cuts=0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.cuts, self.ranges = content, cut, cuts, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/paxray_dataset.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, start = self.server, 0
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if asked:
            start = int(asked.removeprefix("bytes=").split("-")[0])
        body = server.content[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        if asked:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            )
        self.end_headers()
        if server.cuts:
            server.cuts -= 1
            body = body[: server.cut]
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


def test_a_member_without_a_name_is_refused(tmp_path):
    nameless = zipfile.ZipInfo("x")
    nameless.filename = ""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(nameless, "evil")
    with pytest.raises(ValueError, match="do not use this archive"):
        unpack(tmp_path / "x.zip", tmp_path / "paxray")


def test_an_encrypted_archive_is_refused(archive, tmp_path):
    content = bytearray(archive.read_bytes())
    # the first member's flag in the directory at the end
    content[content.find(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.zip: .* is encrypted"):
        unpack(tmp_path / "x.zip", tmp_path / "paxray")


def test_other_compressions_are_checked_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("paxray.json", "{}" * 1000)
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[60:70] = b"\xff" * 10
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(ValueError, match="damaged or cut short"):
        unpack(tmp_path / "x.zip", tmp_path / "paxray")


def unpack_and_stop(archive, to, count):
    """Interrupt unpacking, as by Ctrl-C, once `count` files have been extracted."""
    extract, done = zipfile.ZipFile.extract, []

    def stops(*arguments):
        if len(done) == count:
            raise KeyboardInterrupt
        done.append(arguments)
        return extract(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", stops)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, to)


def test_nothing_of_another_archive_stays(archive, tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("paxray_dataset/stray.txt", "x")
        other.writestr("b.txt", "x")
    unpack_and_stop(tmp_path / "other.zip", tmp_path / "paxray", 1)
    root = unpack(archive, tmp_path / "paxray")
    assert not list(root.rglob("stray.txt"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.zip", "paxray"]


def test_size_is_bounded(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_BYTES", 1000)
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


def test_download_goes_on_where_it_stopped(serve, tmp_path):
    content = bytes(range(256)) * 16_000  # several of the blocks in which gdown writes
    server = serve(content, cut=1_500_000, cuts=2)
    with pytest.raises(OSError, match="try again"):
        download(server.url, tmp_path / "x.zip", retries=0)
    assert not (tmp_path / "x.zip").exists()
    assert download(server.url, tmp_path / "x.zip", retries=2).read_bytes() == content
    starts = [int(asked.split("=")[1].split("-")[0]) if asked else 0 for asked in server.ranges]
    assert starts[0] == 0
    assert starts[-1] >= 1_000_000


def test_a_server_that_is_not_there_is_one_clear_error(tmp_path):
    with pytest.raises(OSError, match=r"x\.zip: not downloaded"):
        download("http://127.0.0.1:9/x.zip", tmp_path / "x.zip", retries=0)


def test_without_drive_the_error_says_how_to_do_it_by_hand(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError("no route to host\nand much more")

    monkeypatch.setattr("gdown.download_folder", refused)
    with pytest.raises(
        OSError, match=r"no route to host\); fetch it by hand .*1rzlsZ0b.*--archive FILE"
    ):
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
