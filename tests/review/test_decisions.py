"""review.csv: what is decided stays, is resumed, and is never written over unseen."""

import multiprocessing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paxray_lib.review.decisions import REVIEW, Review, read_review

NAMES = [f"case{i:03d}" for i in range(6)]


def test_a_review_goes_on_where_it_stopped(tmp_path):
    review = Review(tmp_path / "r", NAMES, "Ada")
    assert (review.progress, review.pending) == ("0 of 6", NAMES)
    review.decide(NAMES[1], "accept")
    review.decide(NAMES[0], "reject", "turned")
    again = Review(tmp_path / "r", NAMES, "Bo")
    assert (again.progress, again.pending) == ("2 of 6", NAMES[2:])
    one = again.decisions[NAMES[0]]
    assert (one.verdict, one.note, one.reviewer) == ("reject", "turned", "Ada")
    assert one.time.endswith("+00:00")
    again.decide(NAMES[0], "accept")
    assert read_review(tmp_path / "r")[NAMES[0]].reviewer == "Bo"
    assert not list((tmp_path / "r").glob("*.part*"))


def test_two_people_share_a_folder_and_see_what_the_other_did(tmp_path):
    ada, bo = (Review(tmp_path, NAMES, who) for who in ("Ada", "Bo"))
    ada.decide(NAMES[0], "accept")
    bo.decide(NAMES[1], "reject")  # of another image: both stay
    assert bo.progress == "2 of 6"
    with pytest.raises(ValueError, match="'case001' was decided meanwhile: 'reject' by 'Bo'"):
        ada.decide(NAMES[1], "accept")
    assert read_review(tmp_path)[NAMES[1]].verdict == "reject"
    ada.decide(NAMES[1], "accept")  # knowing it
    assert read_review(tmp_path)[NAMES[1]].reviewer == "Ada"
    with pytest.raises(ValueError, match="decided meanwhile: 'accept' by 'Ada'"):
        bo.decide(NAMES[1], "doubt")


def decide_all(folder, names, who):
    review = Review(folder, NAMES, who)
    for name in names:
        review.decide(name, "accept")


def test_two_processes_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    halves = [(tmp_path, NAMES[0::2], "Ada"), (tmp_path, NAMES[1::2], "Bo")]
    processes = [context.Process(target=decide_all, args=half) for half in halves]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    found = {name: decision.reviewer for name, decision in read_review(tmp_path).items()}
    assert found == dict(zip(NAMES, ["Ada", "Bo"] * 3, strict=True))


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@settings(max_examples=60, deadline=None)
@given(texts, texts.filter(lambda name: name not in ("", "0")), texts)
def test_any_text_comes_back(tmp_path_factory, note, name, reviewer):
    folder = tmp_path_factory.mktemp("r")
    review = Review(folder, [name, "0"], reviewer)
    review.decide("0", "doubt", "007")
    review.decide(name, "accept", note)
    review.decide(name, "reject", note)
    one = read_review(folder)[name]
    assert (one.verdict, one.note, one.reviewer) == ("reject", note, reviewer)
    assert read_review(folder)["0"].note == "007"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("case009", "accept"), "'case009' is not in review; did you mean"),
        (("case000", "acept"), "verdict 'acept': unknown; did you mean 'accept'"),
        (("case000", "accept", "x" * 20_000), "shorten it"),
        (("case000", "accept", "\0"), "shorten it"),
    ],
)
def test_what_is_no_decision_changes_nothing(tmp_path, arguments, words):
    review = Review(tmp_path, NAMES)
    with pytest.raises(ValueError, match=words):
        review.decide(*arguments)
    assert not (tmp_path / REVIEW).exists()


HEAD = b"image,verdict,note,reviewer,time\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n", "columns must be image, verdict"),
        (HEAD + b"a,maybe,,,\n", "row 2: verdict 'maybe': unknown"),
        (HEAD + b"a,accept,,,\na,reject,,,\n", "row 3: 'a' stands twice"),
        (HEAD + b'a,accept,"', "not a readable table"),
        (HEAD + b"a,accept,,,,,,\n", "review.csv"),
        (b"\xff\xfe\0", "not a readable table"),
        (b"", "not a readable table"),
    ],
)
def test_a_damaged_table_is_refused_and_stays(tmp_path, content, words):
    review = Review(tmp_path, NAMES)
    (tmp_path / REVIEW).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        Review(tmp_path, NAMES)
    with pytest.raises(ValueError, match=words):
        review.decide(NAMES[0], "accept")
    assert (tmp_path / REVIEW).read_bytes() == content


def test_names_that_stand_twice(tmp_path):
    with pytest.raises(ValueError, match="'a' stands twice"):
        Review(tmp_path, ["a", "b", "a"])
