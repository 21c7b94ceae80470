"""The programs of docs/retrievers.md run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.vendor import Text, Vendor
from support.waiting import HANG_S

DOCS = Path(__file__).parents[2] / "docs" / "retrievers.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
OWN, SERVER, FOLDER = BLOCKS


def run(program: str, folder: Path, **environment: str) -> str:
    (folder / "program.py").write_text(program)
    command = [sys.executable, str(folder / "program.py")]
    env = os.environ | environment
    ran = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False, cwd=folder, env=env)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_retriever_of_ones_own_is_a_dozen_lines_and_tells_the_model(tmp_path: Path) -> None:
    lines = OWN[OWN.index("class OpeningHours") : OWN.index("async def main")].strip().splitlines()
    assert len(lines) <= 12
    program = OWN.replace("Rojak()", "InProcessRuntime()")
    program = f"from rojak_ray.testing.runtime import InProcessRuntime\n{program}"
    with Vendor([Text("From seven.")]) as vendor:
        out = run(program, tmp_path, OPENAI_API_KEY="sk-of-the-docs", OPENAI_BASE_URL=vendor.openai_url)
    assert out == "From seven.\n"
    assert vendor.requests[0].body["messages"][0]["content"] == (
        "Answer briefly.\nHere is the context to use to answer the user's question:\n"
        "The laksa stall is open 7 am to 2 pm."
    )


def test_settings_for_a_server_are_accepted() -> None:
    names: dict[str, Any] = {}
    exec(SERVER, names)
    assert (names["manual"].type, names["faq"].type) == ("qdrant", "faq")


def test_folder_is_filled_and_asked_and_asked_again(tmp_path: Path) -> None:
    assert run(FOLDER, tmp_path) == "Stall 2 sells coffee\n"
    assert run(FOLDER, tmp_path) == "Stall 2 sells coffee\n"


def test_every_option_is_in_the_table() -> None:
    from dataclasses import fields

    from rojak_ray.retrievers import QdrantRetrieverOptions

    table = DOCS.read_text()
    for option in fields(QdrantRetrieverOptions):
        assert f"`{option.name}`" in table
