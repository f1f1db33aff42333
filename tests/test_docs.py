"""The documents: links lead somewhere, commands and names exist, the first page stays short."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from helpers.sampledata import ROOT
from typer.main import get_command

import paxray_lib
from paxray_lib.cli import app

PAGES = sorted(path for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md"))
PAGES += [ROOT / "data/README.md", ROOT / "benchmarks/LOG.md", ROOT / "benchmarks/RESULTS.md"]
PAGES.append(ROOT / "data/examples/SOURCES.md")
IDS = [str(path.relative_to(ROOT)) for path in PAGES]


def links(text):
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(path):
    """Anchors that a page's headings get on the web."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(text):
    """Each `paxray ...` command of a page, continuation lines joined, comments cut."""
    lines = text.replace("\\\n", " ").splitlines()
    shown = [line.strip() for line in lines if line.startswith("    ")]
    shown += re.findall(r"`(paxray [^`]*)`", text.replace("\n", " "))
    for line in shown:
        if match := re.search(r"(?:^|-m )(paxray(?:_lib)? [^#]*)", line):
            yield shlex.split(match.group(1).replace("...", ""))[1:]


def modules(text):
    return re.findall(r"`(paxray_lib/[\w/.]+)`", text)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_and_files_exist(page):
    text = page.read_text(encoding="utf-8")
    known = get_command(app).commands
    for name, *arguments in filter(None, commands(text)):
        if name.startswith("-") or name == "...":
            continue
        assert name in known, f"{page.name}: paxray {name}"
        shown = getattr(known[name], "commands", {}).get("".join(arguments[:1]), known[name])
        options = {option for p in shown.params for option in p.opts}
        used = {a.partition("=")[0] for a in arguments if a.startswith("--")}
        assert used <= options, f"{page.name}: paxray {name} {used - options}"
    assert all((ROOT / path).exists() for path in modules(text))


def test_every_command_is_documented():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = {arguments[0] for arguments in commands(text) if arguments}
    assert set(get_command(app).commands) <= shown


def test_the_first_page_is_short_and_has_what_a_newcomer_needs():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert all(word in text for word in ("make demo", "make test", "](docs/", "MIT", "CC BY-NC-SA"))
    pictures = [ROOT / link for link in links(text) if link.endswith(".png")]
    assert pictures


def test_the_citation_can_be_read():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == paxray_lib.__version__
    assert citation["license"] == "MIT"
    assert Path(ROOT / "CHANGELOG.md").read_text().count(citation["version"])
