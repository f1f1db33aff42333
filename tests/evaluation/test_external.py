import pytest

from paxray_lib.evaluation.external import ExternalData, read_external


def test_a_mapping_and_a_file_of_it_are_the_same(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "m.yaml").touch()
    (tmp_path / "x.yaml").write_text("root: d\nmap: m.yaml\n")
    found = read_external({"root": "d", "map": "m.yaml"}, tmp_path)
    assert found == ExternalData("d", "paxray.json", "test", "m.yaml")
    assert read_external("x.yaml", tmp_path) == found
    assert read_external({"root": str(tmp_path / "d"), "map": "wingspan"}).map == "wingspan"


@pytest.mark.parametrize(
    ("external", "error", "words"),
    [
        ({"root": "no"}, FileNotFoundError, "external: no: no such data folder"),
        ({"root": "d", "map": "wingspam"}, FileNotFoundError, "did you mean 'wingspan'"),
        ({"root": "d", "maps": "wingspan"}, ValueError, "key 'maps': unknown; did you mean 'map'"),
        ({"map": "wingspan"}, ValueError, "root is needed"),
        ({"root": ["d"]}, ValueError, "external: root"),
        ({"root": "d", "split": [1]}, ValueError, "external: split"),
        ({"root": "d", 1: 2}, ValueError, "key 1: unknown"),
        ([1], ValueError, r"must be a file or a mapping"),
        (True, ValueError, r"must be a file or a mapping"),
        ("no.yaml", FileNotFoundError, r"no\.yaml: no such file"),
        ("d", ValueError, "a folder"),
        ("empty.yaml", ValueError, r"external empty\.yaml: .*root is needed"),
    ],
)
def test_wrong_external_data_name_key_and_remedy(tmp_path, external, error, words):
    (tmp_path / "d").mkdir()
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(error, match=words):
        read_external(external, tmp_path)
