"""The size budget, without exemptions: files of 500 lines, functions of 80, constructors of 9 parameters, at most."""

import ast
import sys
from pathlib import Path

FILE_LINES, FUNCTION_LINES, CONSTRUCTOR_PARAMETERS = 500, 80, 9


def violations(root: Path) -> list[str]:
    """One line for each place in the package that is over the budget."""
    found: list[str] = []
    for path in sorted(root.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if (lines := source.count("\n")) > FILE_LINES:
            found.append(f"{path}: {lines} lines (at most {FILE_LINES})")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines (at most {FUNCTION_LINES})")
            parameters = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs) - 1
            if node.name == "__init__" and parameters > CONSTRUCTOR_PARAMETERS:
                found.append(f"{path}:{node.lineno}: {parameters} constructor parameters (at most 9)")
    return found


if __name__ == "__main__":
    problems = violations(Path(__file__).parent.parent / "rojak_ray")
    print("\n".join(problems) or "size budget: ok")
    sys.exit(bool(problems))
