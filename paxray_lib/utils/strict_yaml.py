"""YAML as settings need it: plain values, and nothing that refers, grows, repeats or makes objects.

One reader for profiles, config.yaml and `--set`. Against YAML 1.1, which PyYAML reads: 5e-3 is a
number, 010 and 1:30 and dates are text; a key that stands twice, an anchor, an alias, a merge key,
a tag, a number that is not finite or needs more than 64 bits are errors.
"""

import math
import os
import re
from typing import Any

import yaml

from paxray_lib.utils.errors import shown
from paxray_lib.utils.files import open_file

_MAX_BYTES, _MAX_DEPTH = 1 << 16, 16


def read_yaml(path: str | os.PathLike) -> dict[str, Any]:
    """Read a YAML file of names and values; an empty one gives an empty dict.

    FileNotFoundError, or ValueError that names file, line and value.
    """
    with open_file(path) as file:
        content = parse_yaml(file.read(_MAX_BYTES + 1), path)
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        kind = type(content).__name__
        raise ValueError(f"{path}: settings are lines of 'name: value', got {kind}")
    return content


def parse_yaml(text: str | bytes, name: object) -> Any:
    """Parse YAML; `name` says in the ValueError what was parsed."""
    if len(text) > _MAX_BYTES:
        raise ValueError(f"{name}: more than {_MAX_BYTES >> 10} KiB; is it a file of settings?")
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        why = " ".join(str(error).split())[:300]
        raise ValueError(f"{name}: not readable as YAML: {why}") from error


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - as in PyYAML; filled below
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor or getattr(event, "tag", None):
            _refuse("an anchor, an alias or a tag; write the value itself", event)
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            _refuse("nested too deeply", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        content = super().construct_mapping(node, deep)
        if len(content) != len(node.value):
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node)
                if key in seen:
                    _refuse(f"key {shown(key)} stands twice", key_node)
                seen.add(key)
        return content

    def construct_text(self, node: yaml.ScalarNode) -> str:
        if re.search("[\0\ud800-\udfff]", node.value):
            _refuse("a null character or half of a surrogate pair", node)
        return node.value

    def construct_number(self, node: yaml.ScalarNode) -> float:
        text = node.value.replace("_", "").lower()
        number = int(text, 0) if node.tag.endswith("int") else float(re.sub("[.](?=i|n)", "", text))
        if not (math.isfinite(number) if isinstance(number, float) else abs(number) < 1 << 63):
            _refuse(f"{shown(node.value)} is no number that settings may have", node)
        return number


def _refuse(problem: str, where: yaml.Node | yaml.Event) -> None:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


_DIGITS = "[0-9][0-9_]*"
_EXPONENT = "[eE][-+]?[0-9]+"
_POINT = rf"(\.[0-9]+|{_DIGITS}\.[0-9_]*)({_EXPONENT})?"
for _kind, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "(?i:yes|no|true|false|on|off)", list("yYnNtTfFoO")),
    ("int", "[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)", list("-+0123456789")),
    ("float", rf"[-+]?({_POINT}|{_DIGITS}{_EXPONENT}|(?i:\.inf|\.nan))", list("-+.0123456789")),
):
    _tag = f"tag:yaml.org,2002:{_kind}"
    _Loader.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), _first)
    if _kind in ("int", "float"):
        _Loader.add_constructor(_tag, _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.construct_text)
