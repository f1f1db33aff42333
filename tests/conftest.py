"""What all tests share: hypothesis settings, the real images and CT, a browser, the order of the
slow tests.
"""

import gc
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest
from helpers.sampledata import ROOT, small_training, write_tiny
from hypothesis import settings

# At Python's default the search for garbage is a tenth of the time; the commands set this, too.
gc.set_threshold(20_000)
# Whoever starts the tests may ignore signals, as nohup and background jobs of a shell do; the
# commands that they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# The commands that tests start would compile the library anew each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Tests never open a window nor wait for a model hub. Set before matplotlib and huggingface_hub are
# imported.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # one process per core: more threads would only wait
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"  # the tests' own servers

BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

# No deadline: machines are shared, and a slow example is no wrong one. CI repeats the same examples
# each time.
settings.register_profile(
    "paxray", deadline=None, max_examples=50, print_blob=True, derandomize="CI" in os.environ
)
settings.load_profile("paxray")


def pytest_collection_modifyitems(items):
    """Run slow tests last, so that a fast failure shows first.

    Where processes share the files between them, those with slow tests come before the others, so
    that at the end no process is left alone with a long file.
    """

    def is_slow(item):
        return item.get_closest_marker("slow") is not None

    items.sort(key=is_slow)
    if "PYTEST_XDIST_WORKER" in os.environ:
        long = {item.path for item in items if is_slow(item)}
        items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish():
    """Leave the libraries out of each later search for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_process_outlives_its_test():
    """A forked one holds the pipes of all that this process had started before: a browser, too."""
    gc.callbacks.clear()  # hypothesis has one: a signal that comes while it runs is lost
    yield
    assert not multiprocessing.active_children()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real X-rays (``cxr/``) and a CT (``ct/``), which is not part of the repository.

    ``PAXRAY_TEST_DATA``, or ``../shared/data`` beside the repository; skips the test where there is
    none."""
    folder = Path(os.environ.get("PAXRAY_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder} (PAXRAY_TEST_DATA names another folder)")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the Chromium for browser tests: ``PAXRAY_CHROMIUM`` or the one on the PATH; skips
    where there is none.
    """
    path = os.environ.get("PAXRAY_CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.skip("no Chromium (install Debian's package chromium, or set PAXRAY_CHROMIUM)")
    return path


@pytest.fixture(scope="session")
def browser(chromium):
    """A headless Chromium for all tests of the session: playwright allows one in a process."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """Root of a tiny data set that no test may change (see sampledata.py; `write_tiny` makes one of
    its own).
    """
    root = tmp_path_factory.mktemp("tiny")
    write_tiny(root)
    return root


@pytest.fixture(scope="session")
def trained(tiny, tmp_path_factory) -> Path:
    """Folder of a finished training on `tiny`, two epochs of a small network at 32 px."""
    from paxray_lib.training.config import TrainConfig
    from paxray_lib.training.loop import fit

    folder = tmp_path_factory.mktemp("run")
    return fit(TrainConfig(**small_training(tiny, folder)))
