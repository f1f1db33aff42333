"""Run several profiles one after another and compare them on one page: `paxray sweep`.

    OUT/<name of the profile>/      each member, a run's folder as `paxray run` leaves it
    OUT/index.html                  the comparison, written anew after every member
    OUT/sweep.json  OUT/scores.csv  the same to be read by programs
    OUT/status.json                 the state of each member, true whatever ends the sweep

A member that fails is listed, and the others still run.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paxray_lib.runs.plan import RunPlan, make_plan
from paxray_lib.runs.run import DONE, STOPPED, changed_since, check_resumable, note, run_plan
from paxray_lib.runs.status import Status, Step, earlier_status, read_status
from paxray_lib.utils import duration, lock, log, read_json

if TYPE_CHECKING:
    from paxray_lib.runs.execute import Stop

SOME_FAILED = 1


def sweep(
    profiles: Sequence[str | os.PathLike],
    overrides: Iterable[str] = (),
    out: str | os.PathLike = "runs/sweep",
    resume: bool = False,
    notebooks_dir: str | os.PathLike | None = None,
    config_types: Mapping[str, Any] | None = None,
) -> int:
    """Run profiles one after another, each in a folder of its own below `out`, and compare them.

    Parameters
    ----------
    profiles : paths of YAML profiles, of different names
        The first one that has scores is what the others are compared with.
    overrides, notebooks_dir, config_types : as for `run`, for all members
    out : folder of the sweep; a `run_dir` in a profile does not count here
    resume : bool
        Go on with a sweep that was stopped: members that are done are not run again, the others
        start at their first notebook that is not done, a training at its last checkpoint. More
        profiles may have been added.

    Returns
    -------
    0: all done. 1: some members failed. 3: stopped before the end.

    Raises
    ------
    ValueError, OSError : nothing was started, for a wrong profile, two of one name, a folder in
        use, other settings or data than before
    """
    folder, overrides = Path(out).resolve(), list(overrides)
    plans = plan_members(profiles, overrides, folder, notebooks_dir, config_types)
    from paxray_lib.runs.execute import Stop

    stop = Stop()
    with lock(folder), stop.by_signals():
        earlier = earlier_status(folder, resume)
        for step in earlier["steps"] if earlier else ():
            if step["name"] not in plans:
                also = f"was started with {step['name']} too"
                raise ValueError(f"{folder}: {also}; name all of its profiles to resume")
        for plan in plans.values():
            before = earlier_status(plan.run_dir, resume=True) if plan.run_dir.is_dir() else None
            if before:
                check_resumable(plan, before)
        return _Sweep(folder, plans, Status(folder, plans, earlier), stop).run_all()


def plan_members(
    profiles: Sequence[str | os.PathLike],
    overrides: Sequence[str],
    folder: Path,
    notebooks_dir: str | os.PathLike | None = None,
    config_types: Mapping[str, Any] | None = None,
) -> dict[str, RunPlan]:
    """Return the checked plan of each member by its name, or raise ValueError or OSError."""
    paths = [Path(profile) for profile in profiles]
    if not paths:
        example = "notebooks/profiles/sweep_*.yaml"
        raise ValueError(f"no profile to run; name one or more, such as {example}")
    if any(text.partition("=")[0].strip() == "run_dir" for text in overrides):
        why = "the members of a sweep would share it"
        raise ValueError(f"--set run_dir: {why}; choose the sweep's folder with --out")
    name, count = Counter(path.stem.casefold() for path in paths).most_common(1)[0]
    if count > 1:
        same = ", ".join(str(path) for path in paths if path.stem.casefold() == name)
        why = f"the same name, so the members would share the folder {folder / name}"
        raise ValueError(f"{same}: {why}; rename one")
    plans = {}
    for path in paths:
        plan = make_plan(path, overrides, folder / path.stem, notebooks_dir, config_types)
        if config_types is None:
            _check_settings(path, plan)
        plans[path.stem] = plan
    return plans


def _check_settings(profile: Path, plan: RunPlan) -> None:
    """Raise what a training or an evaluation would raise when it starts, maybe hours later."""
    from paxray_lib.data.datafile import read_datafile
    from paxray_lib.runs.profiles import build_config
    from paxray_lib.training.config import TrainConfig

    try:
        config = build_config(TrainConfig, plan.settings)
        for source in config.sources if "data_root" in plan.settings else ():
            read_datafile(plan.root / source.root, source.datafile)
    except (ValueError, OSError) as error:
        raise ValueError(f"{profile}: {error}") from error


@dataclasses.dataclass(frozen=True)
class _Sweep:
    """One sweep under way, in a folder that this process has locked."""

    folder: Path
    plans: Mapping[str, RunPlan]
    status: Status
    stop: "Stop"

    def run_all(self) -> int:
        """Run the members that are not done; return the exit status."""
        state = self.status.carry_out(self.run_members, self.write_page)
        for step in self.status.steps:
            if step["state"] == "failed":
                log(f"failed: {step['name']}: {step['error']}")
        if state == "done":
            return DONE
        log("--resume goes on with what is not done")
        return SOME_FAILED if state == "failed" else STOPPED

    def run_members(self) -> str:
        """Run the members in order; return "done", "failed" if some did, or "interrupted"."""
        self.write_page()
        for number, step in enumerate(self.status.steps, 1):
            label = f"({number}/{len(self.plans)}) {step['name']}"
            plan = self.plans[step["name"]]
            done = (plan.run_dir / "status.json").is_file()
            if done and read_status(plan.run_dir)["state"] == "done":
                log(f"{label} was done before")
                note(step, _changes(plan))
                if step["state"] != "done":  # killed between the member's end and its note of it
                    with self.status.running(step) as result:
                        result["state"] = "done"
            elif self.stop.reason is not None:
                log(f"{label} not started: {self.stop.reason}")
                return "interrupted"
            else:
                self.run_member(plan, step, label)
                if step["state"] == "interrupted":
                    return "interrupted"
        return "done" if all(step["state"] == "done" for step in self.status.steps) else "failed"

    def run_member(self, plan: RunPlan, step: Step, label: str) -> None:
        """Run one member and record how it ended."""
        log(label)
        with self.status.running(step) as result:
            error = None
            try:
                if run_plan(plan, self.stop, resume=True) == DONE:
                    result["state"] = "done"
            except (ValueError, OSError) as caught:
                error = str(caught)
            if not result:
                result["state"] = "failed" if self.stop.reason is None else "interrupted"
                result["error"] = error or read_status(plan.run_dir).get("error", "see its page")
        log(f"{label} {step['state']} after {duration(step['seconds'])}")
        self.write_page()

    def write_page(self) -> Path:
        """Write index.html, sweep.json and scores.csv from what the members' folders hold."""
        from paxray_lib.runs.sweep_report import write_comparison
        from paxray_lib.runs.sweep_scores import read_member

        members = []
        for step in self.status.steps:
            plan = self.plans[step["name"]]
            members.append(read_member(step["name"], plan.run_dir, plan.root, step, plan.settings))
        return write_comparison(self.folder, read_json(self.status.path), members)


def _changes(plan: RunPlan) -> str | None:
    """Say which notebooks of a finished member were changed since."""
    ran = {step["name"]: step for step in read_status(plan.run_dir)["steps"]}
    changes = [changed_since(ran.get(path.stem, {}), path) for path in plan.notebooks]
    text = "; ".join(filter(None, changes))
    return f"{plan.run_dir.name}: {text}" if text else None
