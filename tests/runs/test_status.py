"""The state of a run on disk."""

import contextlib

import pytest
from helpers.notebooks import run, states, write_notebook

from paxray_lib.runs import status as status_module
from paxray_lib.utils import locks


def test_a_run_that_ends_while_its_status_is_read_was_not_cut_off(tmp_path, monkeypatch):
    original = status_module.read_json
    with contextlib.ExitStack() as work:
        work.enter_context(locks.lock(tmp_path))
        status = status_module.Status(tmp_path, ["01_a"])
        result = work.enter_context(status.running(status.steps[0]))

        def read_and_end(path):
            found = original(path)
            result["state"] = "done"
            work.close()
            return found

        monkeypatch.setattr(status_module, "read_json", read_and_end)
        assert states(status_module.read_status(tmp_path)) == ["running"]
        monkeypatch.setattr(status_module, "read_json", original)
        assert states(status_module.read_status(tmp_path)) == ["done"]


def test_a_folder_with_other_files_is_left_alone(project):
    write_notebook(project / "notebooks", "01_a")
    with pytest.raises(ValueError, match=r"holds other files \(notebooks, \.\.\.\)"):
        run(project, out=project)
    assert not (project / "status.json").exists()
