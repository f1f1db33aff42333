"""Locks between processes; and nothing of the package needs a module that Windows lacks."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock

from paxray_lib.utils.locks import is_locked, lock

HOLD = """
import sys, time
from pathlib import Path
from paxray_lib.utils.locks import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(300)
"""


def test_one_process_works_in_a_folder_until_it_is_killed(tmp_path):
    folder = tmp_path / "new"
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()
        assert is_locked(folder)
        with (
            pytest.raises(ValueError, match=r"new: another process.* choose another"),
            lock(folder),
        ):
            pass
        process.kill()
    assert not is_locked(folder)
    with lock(folder), lock(folder, ".other"):
        assert is_locked(folder)
    assert not is_locked(folder)
    assert not is_locked(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_that_lives_on_does_not_keep_the_lock(tmp_path):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(300,))
    with lock(tmp_path):
        child.start()
        assert is_locked(tmp_path)
    try:
        assert not is_locked(tmp_path)
        with lock(tmp_path):
            pass
    finally:
        child.kill()
        child.join()


def test_a_reader_of_the_status_keeps_no_run_from_starting(tmp_path):
    reader = FileLock(tmp_path / ".lock", thread_local=False)
    reader.acquire()
    threading.Timer(0.1, reader.release).start()
    with lock(tmp_path):
        assert is_locked(tmp_path)


WITHOUT = """
import importlib, pkgutil, sys
sys.modules["fcntl"] = None  # as on Windows
import paxray_lib
for module in pkgutil.walk_packages(paxray_lib.__path__, "paxray_lib."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.mark.slow
def test_every_module_can_be_imported_without_fcntl():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_file_is_no_folder_to_work_in(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: not a folder"), lock(tmp_path / "file"):
        pass
