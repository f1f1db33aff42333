"""A project for the tests of the runner."""

import pytest


@pytest.fixture
def project(tmp_path):
    """A project's root with an empty profile; the notebooks are each test's own."""
    (tmp_path / "p.yaml").write_text("")
    return tmp_path
