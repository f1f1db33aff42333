import pytest

from paxray_lib.importing.names import image_path, item_name


def test_only_the_suffix_of_an_image_goes():
    assert [item_name(n) for n in ("a/b.JPEG", "1.2.840.7", "x.dcm")] == ["a/b", "1.2.840.7", "x"]


@pytest.mark.parametrize("name", ["", "/a", "a/../../b", "..", "a\0b"])
def test_names_that_lead_out_are_refused(name):
    with pytest.raises(ValueError, match="no path below x"):
        image_path("x", name)
