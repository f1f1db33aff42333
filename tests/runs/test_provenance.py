"""Where a run's code and data come from."""

import json
import subprocess

from paxray_lib.runs import provenance


def test_the_fingerprint_follows_the_data(tmp_path):
    (tmp_path / "x.png").write_bytes(b"123")
    (tmp_path / "d.json").write_text(
        json.dumps({"label_dict": {}, "train": [{"image": "x.png", "target": None}]})
    )
    settings = {"data_root": ".", "datafile": "d.json"}
    first = provenance.describe_data(tmp_path, settings)
    assert "1 files" in first
    assert provenance.describe_data(tmp_path, settings) == first
    (tmp_path / "x.png").write_bytes(b"1234")
    assert provenance.describe_data(tmp_path, settings) != first
    (tmp_path / "d.json").write_text("{")
    assert "not readable as JSON" in provenance.describe_data(tmp_path, settings)
    assert "is not there yet" in provenance.describe_data(tmp_path, {"data_root": "."})
    assert provenance.describe_data(tmp_path, {}) == "no data_root set"


def test_git_state_is_a_commit_or_a_reason(tmp_path):
    assert provenance.git_state(tmp_path).startswith("unknown (")


def test_git_state_follows_what_is_in_changed_files(tmp_path):
    (tmp_path / "f").write_text("1")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "f"], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    states = [provenance.git_state(tmp_path)]
    assert states[0].endswith(", clean")
    for text in "23":
        (tmp_path / "f").write_text(text)
        states.append(provenance.git_state(tmp_path))
        assert ", 1 files changed or not tracked, diff " in states[-1]
    assert len(set(states)) == 3
