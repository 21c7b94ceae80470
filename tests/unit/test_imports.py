"""`import rojak_ray` is cheap: it loads neither Ray nor an SDK, and everything else comes when it is used."""

import subprocess
import sys

import pytest

import rojak_ray
from rojak_ray import errors

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


def test_every_public_name_is_found_where_the_one_list_says():
    namespace: dict[str, object] = {}
    exec("from rojak_ray import *", namespace)
    assert set(rojak_ray.__all__) == set(dir(rojak_ray)) == namespace.keys() - {"__builtins__"}
    for name in rojak_ray.__all__:
        assert namespace[name] is getattr(rojak_ray, name)


def test_every_error_is_public():
    found = {name for name, one in vars(errors).items() if isinstance(one, type)}
    assert found - set(rojak_ray.__all__) == set(), "add it to rojak_ray/__init__.pyi"


@pytest.mark.parametrize("name", ["OpenAIAgnet", "agnet", "_homes_", "__wrapped__"])
def test_a_name_that_does_not_exist_is_an_error(name):
    with pytest.raises(AttributeError, match=name):
        getattr(rojak_ray, name)
