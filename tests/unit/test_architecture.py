"""The layers and the size budget, as tests, so that `pytest` alone tells."""

import subprocess
import sys
from pathlib import Path

import pytest
from size_budget import violations

ROOT = Path(__file__).resolve().parents[2]


def test_rooms_import_only_from_rooms_to_their_left():
    tool = Path(sys.executable).parent / "lint-imports"
    ran = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 broken" in ran.stdout


def test_package_is_within_the_size_budget():
    assert violations(ROOT / "rojak_ray") == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("\n" * 501, "501 lines"),
        ("def f():\n" + "    x = 1\n" * 81, "f has 82 lines"),
        ("class C:\n    def __init__(self, a, b, c, d, e, *, f, g, h, i, j): ...\n", "10 constructor parameters"),
    ],
)
def test_size_budget_sees_what_is_over_it(tmp_path, source, complaint):
    (tmp_path / "big.py").write_text(source)
    (found,) = violations(tmp_path)
    assert complaint in found


def test_size_budget_accepts_what_is_at_its_limits(tmp_path):
    (tmp_path / "fits.py").write_text("\n" * 400 + "def f():\n" + "    x = 1\n" * 79)
    assert violations(tmp_path) == []
