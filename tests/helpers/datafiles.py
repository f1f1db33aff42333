"""Data files changed by tests."""

import json


def rewrite(root, change):
    path = root / "paxray.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
