import json
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.importing import stream

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=9,
)


def read(path, chunk):
    with mock.patch.object(stream, "_CHUNK", chunk):
        return list(stream.JsonStream(path).elements())


@given(
    content=st.dictionaries(st.text(max_size=5), VALUES, max_size=4),
    chunk=st.integers(1, 40),
    is_ascii=st.booleans(),
    indent=st.none() | st.integers(0, 3),
)
def test_every_element_is_found_at_its_place(content, chunk, is_ascii, indent, tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "a.json"
    text = json.dumps(content, ensure_ascii=is_ascii, indent=indent).encode()
    path.write_bytes(text)
    got = read(path, chunk)
    lists = {k: v if isinstance(v, list) else [v] for k, v in content.items()}
    whole = [value for part in lists.values() for value in part]
    assert [json.loads(text[start:end]) for _, _, (start, end) in got] == whole
    if is_ascii:
        keys = [key for key, part in lists.items() for _ in part]
        assert [(key, value) for key, value, _ in got] == list(zip(keys, whole, strict=True))


@given(chunk=st.integers(1, 40), data=st.data())
def test_what_is_cut_short_is_an_error(chunk, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "a.json"
    text = b'{"info": 12, "list": [{"a": 1}, [2, 3], "x"], "none": []} '
    path.write_bytes(text[: data.draw(st.integers(0, len(text) - 2))])
    with pytest.raises(ValueError, match=r"a\.json: not a JSON object"):
        read(path, chunk)


@pytest.mark.parametrize(
    "text",
    ["[]", "3", "{,}", '{"a" 1}', '{"a": 1, "a": 2}', '{"a": [1,]}', '{"a": [1 2]}', '{"a": 1} x',
     '{"a": 1,}', '{1: 2}', '{"a": ' + "[[" * 9999, '{"a": [' + "9" * 9999, '{"a": {"b": }}'],
)  # fmt: skip
def test_what_is_no_json_object_is_an_error(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json: not a JSON object of that kind .byte \d"):
        read(tmp_path / "a.json", 8)


def test_an_element_without_end_takes_no_memory(tmp_path):
    with open(tmp_path / "a.json", "wb") as file:
        file.write(b'{"a": ["' + b"x" * (100 << 20))
    with pytest.raises(ValueError, match=r"a\.json: not a JSON object"):
        read(tmp_path / "a.json", 1 << 20)
