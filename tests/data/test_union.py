import numpy as np
import pytest
from helpers.sampledata import write_tiny
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.data.dataset import EpochSampler, PaxrayDataset
from paxray_lib.data.union import DatasetUnion, DataSource, name_first, open_sources
from paxray_lib.labels.table import LabelSet
from paxray_lib.training.config import TrainConfig
from paxray_lib.utils.settings import cast, field_types

FILM = LabelSet(["mediastinum_upper", "pacemaker", "heart"])
PHANTOM = LabelSet(["heart", "aorta", "mediastinum_upper", "mediastinum_upper"])


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[DataSource]:
    roots = [tmp_path_factory.mktemp(name) for name in ("phantoms", "films")]
    for seed, (root, labels) in enumerate(zip(roots, (PHANTOM, FILM), strict=True)):
        write_tiny(root, labels=labels, seed=seed)
    return [DataSource(str(roots[0]), weight=3), DataSource(str(roots[1]))]


def test_labels_are_united_and_what_a_set_lacks_is_not_known(sources):
    parts = open_sources(sources).train
    united = DatasetUnion(parts)
    assert united.labels.names == (*PHANTOM.names, "pacemaker")
    assert len(united) == 16
    for index, known in ((0, [1, 1, 1, 1, 0]), (8, [1, 0, 1, 0, 1])):
        sample = united[index]
        assert sample.masks.known.tolist() == list(map(bool, known))
        assert sample.masks.labels == united.labels
        assert united.image_path(index) == parts[index // 8].image_path(index % 8)
    own = parts[1].with_labels(FILM)
    assert np.array_equal(united[9].masks.unpack()[[2, 4, 0]], own[1].masks.unpack())
    with pytest.raises(IndexError, match="sample 16 of 16"):
        united[16]


PARTS = st.lists(
    st.tuples(st.integers(1, 30), st.floats(0.01, 100)), min_size=2, max_size=4
).map(tuple)  # fmt: skip


@given(PARTS, st.integers(0, 99), st.integers(0, 99), st.data())
def test_an_epoch_draws_each_set_by_its_weight(parts, seed, epoch, data):
    length = sum(size for size, _ in parts)
    drawn = list(EpochSampler(length, seed, epoch, parts=parts))
    assert len(drawn) == length
    start = data.draw(st.integers(0, length))
    assert list(EpochSampler(length, seed, epoch, start, parts)) == drawn[start:]
    counts, first = np.bincount([index for *_, index in drawn], minlength=length), 0
    for size, weight in parts:
        of_set = counts[first : first + size]
        assert abs(of_set.sum() - length * weight / sum(w for _, w in parts)) < 1 + 1e-9
        assert of_set.max() - of_set.min() <= 1
        first += size


@given(PARTS, st.integers(0, 99), st.integers(1, 9))
def test_batches_are_of_one_set_but_for_what_is_left_over(parts, seed, size):
    length = sum(count for count, _ in parts)
    drawn = [index for *_, index in EpochSampler(length, seed, 1, 0, parts, size)]
    ends = np.cumsum([count for count, _ in parts])
    sets = np.searchsorted(ends, drawn, side="right")
    batches = sum(np.bincount(sets, minlength=len(parts)) // size)  # whole ones of one set
    for batch in sets[: batches * size].reshape(-1, size):
        assert len(set(batch)) == 1
    without = [index for *_, index in EpochSampler(length, seed, 1, 0, parts)]
    assert len(drawn) == length
    assert (
        np.bincount(np.searchsorted(ends, without, side="right"), minlength=len(parts))
        == np.bincount(sets, minlength=len(parts))
    ).all()


def test_the_share_of_the_draws_is_exact_on_average():
    parts = ((7, 0.3), (5, 2.0), (11, 0.7))
    drawn = [
        index for epoch in range(3000) for *_, index in EpochSampler(23, 5, epoch, parts=parts)
    ]
    shares = np.add.reduceat(np.bincount(drawn, minlength=23), [0, 7, 12]) / len(drawn)
    assert np.allclose(shares, [0.1, 2 / 3, 0.7 / 3], atol=0.002)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("x", "data must be a list of {root, datafile, weight, map}, where root is needed"),
        ([{"weight": 1}], "item 1 is {'weight': 1}"),
        ([{"root": "a"}, {"root": "b", "wieght": 1}], "item 2 has the unknown key 'wieght'"),
        ([{"root": "a", "weight": 0}], "item 1: weight must be greater than 0, not 0"),
        ([{"root": 3.5, "datafile": []}], "item 1: datafile must be text"),
        ([{"root": "a"}] * 101, "must be a list of"),
    ],
)
def test_a_wrong_list_says_where(data, message):
    with pytest.raises(ValueError) as error:
        cast(data, field_types(TrainConfig)["data"], "p.yaml: data")
    assert message in str(error.value)


def test_one_way_of_naming_data():
    data = [{"root": "a", "datafile": "half.json", "weight": 1.0}]
    first = {"data": data, "data_root": "a", "datafile": "half.json"}
    assert name_first({"data": data}, "p.yaml") == name_first(first, "p.yaml") == first
    assert name_first({"data": [], "data_root": "b"}, "p.yaml") == {"data": [], "data_root": "b"}
    for key in ("data_root", "datafile"):
        said = f"{key} 'b' and data: data takes the place of {key}; leave one of them out"
        with pytest.raises(ValueError, match=f"p.yaml: {said}"):
            name_first({"data": data, key: "b"}, "p.yaml")
        with pytest.raises(ValueError, match=said):
            TrainConfig(**{"data": data, key: "b"})
    config = TrainConfig(data=data)
    assert (config.data_root, config.datafile) == ("a", "half.json")
    assert TrainConfig(**config.to_dict()) == config


def test_a_map_says_what_a_set_has_in_the_labels_of_the_others(tmp_path):
    write_tiny(tmp_path / "films", labels=LabelSet(["Heart", "tip", "field"]), seed=3)
    write_tiny(tmp_path / "phantoms", labels=LabelSet(["lung_left", "heart"]))
    (tmp_path / "map.yaml").write_text("field: lung_left - heart\nHeart: heart")
    films = DataSource(str(tmp_path / "films"), map=str(tmp_path / "map.yaml"))
    data = open_sources([films, DataSource(str(tmp_path / "phantoms"))])
    assert data.labels.names == ("lung_left", "heart")
    assert list(data.compounds) == ["lung_left - heart"]
    own, masks = PaxrayDataset(tmp_path / "films").masks(0), data.train[0].masks(0)
    assert masks.labels.names == ("lung_left", "heart", "lung_left - heart")
    assert masks.known.tolist() == [False, True, True]
    np.testing.assert_array_equal(masks.unpack()[1:], own.unpack()[[0, 2]])
    assert data.train[1].masks(0).known.tolist() == [True, True, False]
    assert data.val[0].labels.names == ("field", "Heart")
    assert data.val[1].labels == data.labels
    with pytest.raises(FileNotFoundError, match="did you mean 'wingspan'"):
        open_sources([DataSource(films.root, map="wingspam"), DataSource(films.root)])
