"""A lint: an endless loop is a task only through `background`, which never lets it end by an error."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ALLOWED = {
    "_drive": "a host's own loop: an error ends the host, which answers all callers and is opened again",
}


def is_endless(node: ast.While) -> bool:
    """`while True`, or until something is closed."""
    if isinstance(node.test, ast.Constant):
        return bool(node.test.value)
    return "closed" in ast.unparse(node.test)


def endless_functions(trees: dict[str, ast.Module]) -> set[str]:
    """Names of coroutine functions with an endless loop in which something is awaited, also by way of `await f()`."""
    found: set[str] = set()
    functions = [n for tree in trees.values() for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef)]
    for function in functions:
        loops = [n for n in ast.walk(function) if isinstance(n, ast.While) and is_endless(n)]
        leaves = any(isinstance(n, ast.Return | ast.Break) for loop in loops for n in ast.walk(loop))
        closes = any(not isinstance(loop.test, ast.Constant) for loop in loops)
        if loops and (not leaves or closes):
            found.add(function.name)
    return found


def complaints(trees: dict[str, ast.Module]) -> list[str]:
    """Tasks that run an endless loop bare, or whose work cannot be told."""
    endless = endless_functions(trees)
    found = []
    for path, tree in trees.items():
        for call in ast.walk(tree):
            made = isinstance(call, ast.Call) and ast.unparse(call.func).rsplit(".", 1)[-1]
            if made not in {"create_task", "ensure_future"}:
                continue
            work = call.args[0] if call.args else None
            if not isinstance(work, ast.Call):
                found.append(f"{path}:{call.lineno}: a task whose work is not called in place")
                continue
            name = ast.unparse(work.func).rsplit(".", 1)[-1]
            if name in endless and name not in ALLOWED and path != "rojak_ray/concurrency.py":
                found.append(f"{path}:{call.lineno}: {name} is an endless loop; start it with background()")
    return found


def parsed(files: dict[str, str]) -> dict[str, ast.Module]:
    return {path: ast.parse(source) for path, source in files.items()}


def test_no_endless_loop_is_a_bare_task():
    files = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "rojak_ray").rglob("*.py")}
    assert complaints(parsed(files)) == []


@pytest.mark.parametrize(
    ("source", "complains"),
    [
        ("async def go():\n while True:\n  await x()\ntask = asyncio.create_task(go())", True),
        ("async def go():\n while True:\n  await x()\ntask = asyncio.create_task(self.go(), name='go')", True),
        ("async def go(self):\n while not self._closed:\n  await x()\n  return\ntask = create_task(self.go())", True),
        ("async def go():\n while True:\n  await x()\ntasks = [create_task(each) for each in (go(),)]", True),
        ("async def go():\n while True:\n  await x()\n  break\ntask = asyncio.create_task(go())", False),
        ("async def go():\n await x()\ntask = asyncio.create_task(go())", False),
        ("async def go():\n while True:\n  await x()\ntask = background('go', go, clock)", False),
    ],
)
def test_the_lint_sees_them(source, complains):
    assert bool(complaints(parsed({"a.py": source}))) is complains
