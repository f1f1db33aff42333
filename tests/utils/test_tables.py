import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.utils.tables import read_table, write_table

FORMULAS = ["=1+1", "+1", "-x", "@sum", "\tx", "'=x", "it's", "'x", "", 'x,"y', "line\nend"]
# CSV cannot tell an empty text from a missing one, nor text that is all digits from a number
texts = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).map(lambda t: t + "x")


def test_formulas_are_text_in_a_spreadsheet(tmp_path):
    table = pd.DataFrame({"name": FORMULAS, "number": [-1.5] * len(FORMULAS)})
    write_table(tmp_path / "x.csv", table, "%.2f")
    raw = pd.read_csv(tmp_path / "x.csv", keep_default_na=False)
    assert not raw["name"].str.startswith(("=", "+", "-", "@", "\t")).any()
    assert (raw["number"] == -1.5).all()
    assert read_table(tmp_path / "x.csv")["name"].fillna("").tolist() == FORMULAS


@given(st.lists(st.sampled_from(["", "=", "'", "''", "-"]).flatmap(lambda a: texts.map(a.__add__))))
def test_texts_come_back(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("tables") / "x.csv"
    write_table(path, pd.DataFrame({"name": names}, dtype=object))
    assert read_table(path)["name"].tolist() == names


def test_what_is_no_table_is_named(tmp_path):
    (tmp_path / "x.csv").write_bytes(b'a,b\n"1')
    with pytest.raises(ValueError, match=r"x\.csv: not a readable table"):
        read_table(tmp_path / "x.csv")


def test_what_is_no_table_is_told_in_one_line(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(ValueError, match=r"^[^\n]*x\.csv: not a readable table[^\n]*$"):
        read_table(tmp_path / "x.csv")
