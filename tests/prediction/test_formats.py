"""Names of outputs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.prediction.predict import FORMATS, output_names


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "d/"]),
            st.sampled_from(["a", "b", "1.2.840"]),
            st.sampled_from([".png", ".jpg", ".PNG", ".png.png", "", ".113"]),
        ),
        unique=True,
    ),
    st.sampled_from(list(FORMATS.values())),
)
def test_two_inputs_never_write_one_output(parts, suffix):
    names = ["".join(part) for part in parts]
    outputs = output_names(names, suffix)
    assert len(set(outputs)) == len(names)
    for name, output in zip(names, outputs, strict=True):
        assert output.startswith(name.rsplit(".", 1)[0])
        assert output.endswith(suffix)


def test_names_keep_clear_of_case_and_of_our_own_files():
    assert output_names(["a.png", "A.jpg"], ".pxm") == ["a.png.pxm", "A.jpg.pxm"]
    assert output_names(["settings.png"], ".json", ["settings.json"]) == ["settings.png.json"]
    assert output_names(["1.2.840.113", "1.2.840.114"], ".pxm") == [
        "1.2.840.113.pxm",
        "1.2.840.114.pxm",
    ]
    with pytest.raises(ValueError, match="listed twice"):
        output_names(["a.png", "a.png"], ".pxm")
