import pytest
import yaml
from helpers.sampledata import write_tiny

from paxray_lib.runs.plan import make_plan
from paxray_lib.runs.provenance import describe_data
from paxray_lib.runs.run import train_settings


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "both.yaml"
    data = [{"root": "a", "weight": 3}, {"root": "b", "datafile": "half.json"}]
    path.write_text(yaml.safe_dump({"data": data, "epochs": 1}))
    return path


def test_notebooks_take_the_first_set_and_the_training_takes_all(profile):
    plan = make_plan(profile)
    assert plan.values_for("03_evaluate")["data_root"] == "a"
    values = plan.values_for("02_train")
    assert (values["data_root"], values["datafile"]) == ("a", "paxray.json")
    assert [part["weight"] for part in values["options"]["data"]] == [3.0, 1.0]
    assert train_settings(profile)["data"] == values["options"]["data"]


def test_two_ways_of_naming_data_are_refused(profile):
    with pytest.raises(ValueError, match="data_root 'c' and data: data takes the place of data_"):
        train_settings(profile, ["data_root=c"])
    assert train_settings(profile, ["data_root=c", "data=[]"])["data_root"] == "c"


def test_provenance_describes_each_set(tmp_path):
    write_tiny(tmp_path / "a")
    data = [{"root": name, "datafile": "paxray.json", "weight": 1.0} for name in "ab"]
    first, second = describe_data(tmp_path, {"data": data}).split("; ")
    assert first == describe_data(tmp_path, {"data_root": "a"})
    assert second.endswith("b/paxray.json is not there yet")
