"""Sweeps: members one after another, whatever happens to one of them, and every number of the page
from the counts.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.sampledata import ROOT
from helpers.slowscores import (
    slow_draws,
    slow_interval,
    slow_labels_scored,
    slow_resamples,
    slow_score,
)
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.evaluation.result import Evaluation
from paxray_lib.labels.table import LabelSet
from paxray_lib.phantoms.sample_dataset import generate_sample
from paxray_lib.runs import status, sweep_report, sweep_scores
from paxray_lib.runs.sweep import plan_members, sweep
from paxray_lib.runs.sweep_plots import plot_fractions
from paxray_lib.utils import files

LABELS = LabelSet(["lung_left", "lung_right", "heart", "t8"])
SWEEP = """
import sys
from paxray_lib.runs.sweep import sweep
folder = sys.argv[1]
profiles = [f"{folder}/{name}.yaml" for name in sys.argv[2].split(",")]
options = {"resume": True, "notebooks_dir": f"{folder}/notebooks", "config_types": {}}
sys.exit(sweep(profiles, out=f"{folder}/out", **options))
"""
TRAIN = """
import os, pathlib, time
folder = pathlib.Path(run_dir)
rows = ['epoch,train_loss,val_iou_present', '1,0.9,0.2', '2,0.5,', '3,0.4,0.5']
(folder / 'metrics.csv').write_text('\\n'.join(rows))
with open(folder / 'begun.txt', 'a') as file: file.write(f'{resume} ')
if needs and not pathlib.Path(needs).exists():
    pathlib.Path(needs + '.waiting').write_text(str(os.getpid()))
    raise ValueError('no <luck>') if fail else time.sleep(300)
"""
EVALUATE = """
import pathlib, numpy as np
folder = pathlib.Path(run_dir, 'evaluation'); folder.mkdir(exist_ok=True)
rng = np.random.default_rng(seed)
true = np.random.default_rng(9).integers(0, 9, (6, 4))  # the same masks for all members
tp, fp = rng.integers(0, true + 1), rng.integers(0, 9, (6, 4))
fn = true - tp
tp[:4, 3] = fp[:4, 3] = fn[:4, 3] = 0
cases = ['a', 'a', 'b', 'b', 'c', 'd']
views = ['frontal', 'lateral'] * 3
names = ['lung_left', 'lung_right', 'heart', 't8']
images = [f'{i}.png' for i in range(6)]
text = {'images': images, 'cases': cases, 'views': views, 'names': names}
np.savez(folder / 'counts.npz', tp=tp, fp=fp, fn=fn, known=tp >= 0, **text)
"""
TRAIN_HEAD = "run_dir = ''\nseed = 0\nneeds = ''\nfail = False\nresume = False"


def write_notebook(path, head, body):
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {
        "name": "python3",
        "language": "python",
        "display_name": "Python 3",
    }
    notebook.cells = [
        nbformat.v4.new_code_cell(head, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(body),
    ]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)


@pytest.fixture
def project(tmp_path):
    """A project with a training and an evaluation in one notebook, and profiles a, b, c."""
    write_notebook(tmp_path / "notebooks/02_train.ipynb", TRAIN_HEAD, TRAIN + EVALUATE)
    for seed, name in enumerate("abc"):
        (tmp_path / f"{name}.yaml").write_text(f"seed: {seed}\n")
    return tmp_path


def run(project, names, *overrides, **options):
    profiles = [project / f"{name}.yaml" for name in names]
    options = {"out": project / "out", "config_types": {}, **options}
    return sweep(profiles, overrides, notebooks_dir=project / "notebooks", **options)


def states_of(folder):
    return {step["name"]: step["state"] for step in status.read_status(folder)["steps"]}


def states(project):
    return states_of(project / "out")


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def start(project, names, waiting):
    command = [sys.executable, "-c", SWEEP, str(project), ",".join(names)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(waiting.is_file)
    return process


@pytest.mark.slow
def test_a_failing_member_is_listed_and_resumed(project, capfd):
    (project / "b.yaml").write_text(f"seed: 1\nneeds: {project}/luck\nfail: true\n")
    assert run(project, "abc") == 1
    error = capfd.readouterr().err
    assert "failed: b: 02_train: ValueError: no <luck>" in error
    assert states(project) == {"a": "done", "b": "failed", "c": "done"}
    check_page(project / "out")
    text = (project / "out/index.html").read_text()
    assert "ValueError: no &lt;luck&gt;" in text
    assert "<luck>" not in text
    found = json.loads((project / "out/sweep.json").read_text())
    assert [(member["name"], member["state"]) for member in found["members"]] == [
        ("a", "done"),
        ("b", "failed"),
        ("c", "done"),
    ]
    assert {row["member"] for row in found["scores"]} == {"a", "c"}

    with pytest.raises(ValueError, match="holds a run already"):
        run(project, "abc")
    with pytest.raises(ValueError, match="was started with c too"):
        run(project, "ab", resume=True)
    with pytest.raises(ValueError, match=r"other settings: seed .*0.*7"):
        run(project, "abc", "seed=7", resume=True)
    (project / "luck").touch()
    (project / "d.yaml").write_text("seed: 3\n")
    assert run(project, "abcd", resume=True) == 0
    assert states(project) == dict.fromkeys("abcd", "done")
    assert (project / "out/a/begun.txt").read_text() == "False "
    assert (project / "out/b/begun.txt").read_text() == "False True "
    check_page(project / "out")
    check_numbers(project / "out", "abcd")
    assert "Page written" in (project / "out/a/index.html").read_text()


def check_page(folder):
    """Opens offline, and no link leads nowhere."""
    text = (folder / "index.html").read_text()
    assert not re.search(r"<(script|link|iframe)\b", text)
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    links = re.findall(r'href="([^"]+)"', text)
    assert links
    for link in links:
        assert (folder / link).exists(), link


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed(project):
    luck, waiting = project / "luck", project / "luck.waiting"
    (project / "b.yaml").write_text(f"seed: 1\nneeds: {luck}\n")
    process = start(project, "abc", waiting)
    assert states(project) == {"a": "done", "b": "running", "c": "pending"}
    with pytest.raises(ValueError, match="another process is working in this folder"):
        run(project, "abc", resume=True)
    process.kill()
    process.wait(timeout=20)
    process.stderr.close()
    assert states(project) == {"a": "done", "b": "interrupted", "c": "pending"}
    check_page(project / "out")  # written after the first member
    assert re.search(
        r"<h1>.*running when this page was written, .* UTC",
        (project / "out/index.html").read_text(),
    )
    luck.touch()
    assert run(project, "abc", resume=True) == 0
    assert states(project) == dict.fromkeys("abc", "done")
    assert (project / "out/a/begun.txt").read_text() == "False "
    assert (project / "out/b/begun.txt").read_text() == "False True "
    check_numbers(project / "out", "abc")


@pytest.mark.slow
def test_finished_members_are_of_the_same_data_and_code(project, capfd):
    files.write_text(project / "data/paxray.json", "{}")
    head = TRAIN_HEAD + "\ndata_root = ''"
    write_notebook(project / "notebooks/02_train.ipynb", head, TRAIN)
    assert run(project, "a", f"data_root={project}/data") == 0
    write_notebook(project / "notebooks/02_train.ipynb", head, TRAIN + EVALUATE)
    assert run(project, "ab", f"data_root={project}/data", resume=True) == 0
    said = "a: 02_train.ipynb was changed after it ran here"
    assert said in capfd.readouterr().err
    text = (project / "out/index.html").read_text()
    assert said in text
    assert "b: 02_train.ipynb" not in text
    files.write_text(project / "data/paxray.json", '{"test": []}')
    with pytest.raises(ValueError, match=r"out/a: --resume with other data"):
        run(project, "ab", f"data_root={project}/data", resume=True)


@pytest.mark.slow
def test_an_interrupt_ends_the_sweep(project):
    (project / "b.yaml").write_text(f"seed: 1\nneeds: {project}/luck\n")
    process = start(project, "abc", project / "luck.waiting")
    process.terminate()
    error = process.communicate(timeout=30)[1]
    assert process.returncode == 3
    assert "Traceback" not in error
    assert "--resume goes on" in error
    assert states(project) == {"a": "done", "b": "interrupted", "c": "pending"}
    status = json.loads((project / "out/status.json").read_text())
    assert status["state"] == "interrupted"
    assert '<span class="state interrupted">' in (project / "out/index.html").read_text()
    assert "02_train" in (project / "out/b/index.html").read_text()


@pytest.mark.slow
def test_a_time_limit_is_one_members_own(project):
    (project / "a.yaml").write_text(f"seed: 1\nneeds: {project}/luck\ntime_limit: 8\n")
    assert run(project, "ab") == 1
    assert states(project) == {"a": "failed", "b": "done"}
    assert "time limit of 8 s reached" in (project / "out/index.html").read_text()


def test_a_full_disk_ends_the_sweep(project, monkeypatch, capfd):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("paxray_lib.runs.sweep_report.write_comparison", full)
    assert run(project, "a") == 3
    assert "No space left on device" in capfd.readouterr().err
    assert status.read_status(project / "out")["state"] == "failed"


def test_refused_before_anything_runs(project):
    (project / "other").mkdir()
    (project / "other/A.yaml").write_text("seed: 1\n")
    (project / "bad.yaml").write_text("sead: 1\n")
    (project / "broken.yaml").write_text("a: [\n")
    for names, overrides, message in [
        (["a", "other/A"], [], "rename one"),
        (["a", "bad"], [], r"bad.yaml: unknown key 'sead'; did you mean 'seed'\?"),
        (["a", "broken"], [], "not readable as YAML"),
        (["a", "absent"], [], "no such profile"),
        (["a", "b"], ["run_dir=x"], "choose the sweep's folder with --out"),
        ([], [], "no profile to run"),
    ]:
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            run(project, names, *overrides)
    assert not (project / "out").exists()
    (project / "out/b").mkdir(parents=True)
    (project / "out/b/mine.txt").touch()
    with pytest.raises(ValueError, match="holds other files"):
        run(project, "ab")


def test_the_command_refuses_with_exit_code_2(tmp_path):
    paths = [tmp_path / folder / "a.yaml" for folder in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    done = CliRunner().invoke(app, ["sweep", *map(str, paths), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert done.stderr.startswith("paxray: ")
    assert "rename one" in done.stderr
    assert not (tmp_path / "out").exists()


def test_wrong_settings_and_data_are_refused_with_the_profile_named(tmp_path, tiny):
    profile = tmp_path / "p.yaml"
    folder = tmp_path / "out"
    profile.write_text(f"notebooks: [02_train]\ndata_root: {tiny}\nloss: presnt\n")
    with pytest.raises(ValueError, match=r"p\.yaml: .*loss.*'presnt'.*did you mean 'present'\?"):
        plan_members([profile], [], folder, ROOT / "notebooks")
    with pytest.raises(ValueError, match=r"p\.yaml: .*paxray_no\.json"):
        plan_members(
            [profile], ["loss=present", "datafile=paxray_no.json"], folder, ROOT / "notebooks"
        )
    (plan,) = plan_members([profile], ["loss=present"], folder, ROOT / "notebooks").values()
    assert [path.stem for path in plan.notebooks] == ["02_train"]


# Every number again, slowly, from counts.npz alone.


def load(path):
    with np.load(path) as file:
        return dict(file)


def check_numbers(folder, names):
    """Recompute sweep.json, scores.csv and every score on the page, with all intervals."""
    counts = {name: load(folder / name / "evaluation/counts.npz") for name in names}
    cases, views = counts["a"]["cases"].tolist(), counts["a"]["views"].tolist()
    draws = list(slow_draws(cases))
    rows = json.loads((folder / "sweep.json").read_text())["scores"]
    assert len(rows) == len(names) * 4 * 6  # scores; overall, two views, three groups
    table = pd.read_csv(folder / "scores.csv")
    known, first = set(), {}
    for row, line in zip(rows, table.to_dict("records"), strict=True):
        images, labels = images_and_labels(row["part"], views)
        about = len(images), len({cases[i] for i in images}), len(labels)
        assert (row["images"], row["patients"], row["labels"]) == about
        scored = slow_labels_scored(counts[row["member"]], images, labels, row["score"])
        assert row["labels_scored"] == line["labels_scored"] == scored
        value = slow_score(counts[row["member"]], images, labels, row["score"])
        resampled = slow_resamples(counts[row["member"]], draws, images, labels, row["score"])
        base = first.setdefault((row["part"], row["score"]), (value, resampled))
        expected = expected_numbers(value, resampled, base if row["member"] != "a" else None)
        for key, wanted in expected.items():
            assert row[key] == (None if wanted is None else pytest.approx(wanted)), (row, key)
            number = np.nan if wanted is None else wanted
            assert line[key] == pytest.approx(number, abs=1e-6, nan_ok=True)
        if row["part"] == "overall" or row["score"].startswith("iou"):
            known |= texts_of(expected, row["part"] == "overall")
    texts = re.sub(r"</?small>", "", (folder / "index.html").read_text())
    assert f"Means on {len(views)} test images of {len(set(cases))} patients" in texts
    cell = r"(?:<strong>)?([+-]?\d\.\d{3}(?:<br>[^<]*)?)(?:</strong>)?"
    shown = re.findall(rf'<td class="number">{cell}</td>', texts)
    assert len(shown) == len(names) * (4 + 2 * 6) + (len(names) - 1) * 4
    assert set(shown) == known


def images_and_labels(part, views):
    images = [
        i for i, view in enumerate(views) if part not in ("frontal", "lateral") or view == part
    ]
    everything = ("overall", "frontal", "lateral")
    return images, [k for k, group in enumerate(LABELS.group) if part in (*everything, group)]


def expected_numbers(value, resampled, base):
    """Return value and interval, and those of the difference to `base`, None without it."""
    low, high = slow_interval(resampled)
    difference = dict.fromkeys(("difference", "difference_low", "difference_high"))
    if base is not None:
        pairs = [pair for pair in zip(resampled, base[1], strict=True) if None not in pair]
        ends = slow_interval([x - y for x, y in pairs])
        difference = dict(zip(difference, (value - base[0], *ends), strict=True))
    return {"value": value, "low": low, "high": high, **difference}


def texts_of(expected, with_difference):
    """Return what the page shows of a row's numbers."""
    value, low, high, difference, *ends = expected.values()
    texts = {f"{value:.3f}" + ("" if low is None else f"<br>{low:.3f}–{high:.3f}")}
    if with_difference and difference is not None:
        texts.add(f"{difference:+.3f}<br>{ends[0]:+.3f} to {ends[1]:+.3f}")
    return texts


def write_counts(folder, data):
    folder.mkdir()
    np.savez(folder / "counts.npz", **data)


def member(name, folder, **changes):
    evaluation = Evaluation.read(folder) if folder else None
    values = {
        "settings": {},
        "train_images": 8,
        "synthetic": False,
        "evaluation": evaluation,
        "metrics": pd.DataFrame(),
    }
    values |= {
        "folder": Path(name),
        "state": "done",
        "error": None,
        "seconds": None,
        "provenance": {},
        "trouble": "",
    }
    return sweep_scores.Member(name=name, **{**values, **changes})


@pytest.fixture
def counts(tmp_path):
    exec(EVALUATE, {"run_dir": str(tmp_path), "seed": 5})
    return tmp_path / "evaluation"


@pytest.mark.parametrize("what", ["images", "fn"])
def test_differences_need_the_same_images_and_masks(counts, tmp_path, what):
    data = load(counts / "counts.npz")
    write_counts(tmp_path / "other", data | {what: data[what][::-1]})
    table = sweep_scores.score_table(
        [member("a", counts), member("b", tmp_path / "other"), member("c", counts)]
    )
    missing = table.set_index("member")["difference"].isna().groupby(level=0).all()
    assert missing.to_dict() == {"a": True, "b": True, "c": False}
    same = table[table["member"] == "c"]
    assert (same[["difference", "difference_low", "difference_high"]] == 0).all(axis=None)


def test_one_patient_has_no_interval(counts, tmp_path):
    data = load(counts / "counts.npz")
    write_counts(tmp_path / "other", data | {"cases": np.array(["a"] * 6)})
    one = member("a", tmp_path / "other")
    table = sweep_scores.score_table([one])
    assert table[["low", "high"]].isna().all(axis=None)
    state = {"state": "done", "start": files.now(), "steps": []}
    text = sweep_report.write_comparison(tmp_path, state, [one]).read_text()
    assert f"{table['value'][0]:.3f}</td>" in text
    assert "nan" not in re.sub("<[^>]*>", "", text.partition("<body>")[2])


def test_a_damaged_file_is_named_and_left_out(tmp_path):
    folder = tmp_path / "a"
    for name in ("evaluation/counts.npz", "metrics.csv", "config.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"PK\x03\x04 \x00[")
    (folder / "metrics.csv").write_bytes(b"")
    found = sweep_scores.read_member(
        "a", folder, tmp_path, {"state": "done"}, {"data_root": "nowhere"}
    )
    assert found.evaluation is None
    assert found.metrics.empty
    for word in ("counts.npz", "metrics.csv", "config.yaml", "nowhere"):
        assert word in found.trouble


RECIPE = yaml.safe_load((ROOT / "notebooks/profiles/paxray_full.yaml").read_text())


@pytest.mark.parametrize(
    ("settings", "synthetic", "shown"),
    [
        ({}, False, 60.6),
        ({"device": "cuda", "workers": 9, "seed": 1}, False, 60.6),
        ({}, True, None),
        ({"epochs": 5}, False, None),
        ({"encoder_weights": None}, False, None),
        ({"published": None}, False, None),
        ({"weights": "weights/paxray_full.pth", "epochs": 5}, False, 60.6),
    ],
)
def test_published_figures_belong_to_the_published_recipe(settings, synthetic, shown):
    found = member(
        "a", None, settings={**RECIPE, "published": 60.6, **settings}, synthetic=synthetic
    )
    assert sweep_report.published_score(found) == shown


def test_the_profiles_of_the_sweep_differ_in_their_data_alone():
    paths = [ROOT / f"notebooks/profiles/sweep_{part}.yaml" for part in ("full", "half", "quarter")]
    settings = [yaml.safe_load(path.read_text()) for path in paths]
    datafiles = [one.pop("datafile") for one in settings]
    assert datafiles == ["paxray.json", "paxray_half.json", "paxray_quarter.json"]
    assert settings[0] == settings[1] == settings[2]


def test_the_fraction_figure_is_for_members_that_differ_in_their_data_alone(counts, tmp_path):
    members = [
        member(
            name, counts, train_images=number, settings={"datafile": f"{name}.json", "epochs": 2}
        )
        for name, number in (("full", 8), ("half", 4), ("quarter", 2))
    ]
    points = sweep_report.fraction_points(members, sweep_scores.score_table(members))
    assert points["train_images"].tolist() == [8, 4, 2]
    assert points["paper"].isna().all()
    state = {"state": "done", "start": files.now(), "steps": []}
    text = sweep_report.write_comparison(tmp_path, state, members).read_text()
    assert "How much the number of training images matters" in text
    members[1] = member("half", counts, train_images=4, settings={"epochs": 3})
    assert sweep_report.fraction_points(members, sweep_scores.score_table(members)).empty
    same = [member("a", counts), member("b", counts)]
    assert sweep_report.fraction_points(same, sweep_scores.score_table(same)).empty


def test_an_axis_of_training_images_and_published_crosses_are_drawn():
    points = pd.DataFrame({"train_images": [8, 4], "member": ["a", "b"], "paper": [60.6, np.nan]})
    for score in ("iou_present", "iou_published"):
        for end in ("", "_low", "_high"):
            points[score + end] = [0.5, 0.4]
    first = plot_fractions(points)
    assert first.startswith(b"<?xml")
    assert first == plot_fractions(points)
    assert first != plot_fractions(points.assign(paper=np.nan))


SMALL = {
    "image_size": 32,
    "crop_size": 32,
    "epochs": 4,
    "val_every": 1,
    "device": "cpu",
    "precision": "float32",
}


@pytest.mark.slow
def test_the_sweep_of_the_sample_data_is_killed_and_resumed(tmp_path, monkeypatch):
    """The real notebooks and a real profile, small: killed in the training, it goes on from its
    checkpoint. What several members are to each other is tried above, by notebooks of a moment.
    """
    generate_sample(tmp_path / "sample", cases=12, size=64)
    out = tmp_path / "sweep"
    command = ["sweep", "notebooks/profiles/sweep_quarter.yaml", "--out", str(out)]
    for key, value in {"data_root": tmp_path / "sample", **SMALL}.items():
        command += ["--set", f"{key}={value}"]
    monkeypatch.chdir(ROOT)
    process = subprocess.Popen(
        [sys.executable, "-m", "paxray_lib", *command], stderr=subprocess.DEVNULL
    )
    wait_for((out / "sweep_quarter/checkpoints/last.ckpt").is_file, 500)
    process.kill()
    process.wait(timeout=20)
    assert states_of(out) == {"sweep_quarter": "interrupted"}
    done = CliRunner().invoke(app, [*command, "--resume"])
    assert done.exit_code == 0, done.output
    assert states_of(out) == {"sweep_quarter": "done"}
    assert "resumed at epoch" in (out / "sweep_quarter/notebooks/02_train.html").read_text()
    check_page(out)
    assert "Synthetic data." in (out / "index.html").read_text()
    found = json.loads((out / "sweep.json").read_text())
    assert found["members"][0]["settings"]["datafile"] == "paxray_quarter.json"
    for row in found["scores"]:
        if row["part"] == "overall":
            summary = json.loads((out / row["member"] / "evaluation/summary.json").read_text())[
                "overall"
            ]
            assert row["value"] == pytest.approx(summary[row["score"]])
            assert [row["low"], row["high"]] == pytest.approx(summary[f"{row['score']}_interval"])
