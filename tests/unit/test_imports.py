"""`import rojak_ray` is cheap: it loads neither Ray nor an SDK, and everything else comes when it is used."""

import subprocess
import sys

import pytest

HEAVY = ("ray", "openai", "anthropic", "fsspec", "qdrant_client", "temporalio", "fastapi", "starlette", "typer", "rich")

PROBE = """
import sys
import {module}
print(sorted(name for name in {heavy!r} if name in sys.modules))
"""


@pytest.mark.parametrize("module", ["rojak_ray", "rojak_ray.agents", "rojak_ray.journal.journal", "rojak_ray.sessions"])
def test_import_loads_no_heavy_package_and_warns_of_nothing(module):
    code = PROBE.format(module=module, heavy=HEAVY)
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip() == "[]"
