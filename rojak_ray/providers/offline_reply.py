"""What the offline provider says when it calls nothing: results, questions, and examples of what it understands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rojak_ray.providers.offline_match import NAME_PARTS, Judge, Known, Task

ASKING = "I still need"

_EXAMPLES = 3
TRANSFERRED = re.compile(r"Transferred to '(.+)'", re.DOTALL)
_ERROR = re.compile(r"(?:\w*(?:Error|Exception|Timeout|NotFound)|Invalid\w+): ")
_SAMPLES = {
    "email": "ann@example.com",
    "date": "2030-01-31",
    "date-time": "2030-01-31T12:00:00Z",
    "uri": "https://example.com",
    "id": "A1",
    "text": '"it is late"',
    "query": '"satay"',
    "city": "Paris",
}


def compose(results: Sequence[tuple[str, str]], unfilled: Sequence[Task], judge: Judge) -> str:
    """What came of the calls, what is still to be said by the user, or else what can be asked here.

    Args:
        results: Names of functions and their outputs.
        unfilled: What fits and lacks a value.
        judge: Knows the functions.
    """
    lines = [_report(name, output) for name, output in results]
    lines += [_question(task) for task in unfilled]
    if all(TRANSFERRED.fullmatch(output) for _, output in results) and not unfilled:
        lines += _introduction(judge, follows=bool(lines))
    return "\n".join(lines)


def examples(judge: Judge) -> list[str]:
    """Sentences that each lead to a function that can be called at once; three, fewer if there are no more."""
    found: list[str] = []
    # What takes values shows most, handing over least.
    for function in sorted(judge.functions, key=lambda function: (function.is_transfer, not function.properties)):
        for sentence in _sentences(function):
            planned = judge.plan(sentence)
            if [(task.name, task.missing) for task in planned] == [(function.schema.name, [])]:
                found.append(sentence)
                break
        if len(found) == _EXAMPLES:
            break
    return found


def _report(name: str, output: str) -> str:
    if transferred := TRANSFERRED.fullmatch(output):
        return f"You are talking to {transferred[1]} now."
    if _ERROR.match(output):
        return f"I could not finish {name}: {output}"
    return f"According to {name}: {output}" if output else f"I have called {name}; it had nothing to say."


def _question(task: Task) -> str:
    properties = task.function.schema.parameters["properties"]
    wanted = [
        f"{name} ({text.rstrip('.')})" if (text := properties[name].get("description")) else name
        for name in task.missing
    ]
    return f"To call {task.name} {ASKING}: {', '.join(wanted)}."


def _introduction(judge: Judge, *, follows: bool) -> list[str]:
    """What answers here, and what it understands: two lines, of which a handover may be the first, and examples."""
    is_what = "I am an offline stand-in for a language model and match words to functions"
    if not judge.functions:
        return [f"{is_what}; I have none to call."]
    known = examples(judge) or [function.schema.name for function in judge.functions[:_EXAMPLES]]
    lines = [f"{is_what}. You could say:"] if follows else [f"{is_what}; none fits this.", "You could say:"]
    return lines + [f"- {sentence}" for sentence in known]


def _sentences(function: Known) -> Iterator[str]:
    """Ways to ask for a function with values for what it requires, the most natural first."""
    name = " ".join(each.lower() for each in NAME_PARTS.findall(function.schema.name))
    required = function.schema.parameters.get("required", ())
    options = [each for each in function.properties if function.has_choice([each])]
    values = {each: _sample(each, function.properties[each]) for each in required or options[:1]}
    if function.is_transfer:
        yield f"Talk to {name.partition(' to ')[2] or name}"
    if "name" in values and len(values) == 1:
        yield f"I am {values['name']}"
    yield _sentence(name, values)
    listed = ", ".join(f"{parameter.replace('_', ' ')}: {value}" for parameter, value in values.items())
    yield f"{name}, {listed}".capitalize() if values else name
    yield " ".join([function.schema.description.partition("\n")[0].rstrip("."), *values.values()])


def _sentence(name: str, values: Mapping[str, str]) -> str:
    """The name with each value where the name speaks of it, and the others behind: "Add 3 rojak to order"."""
    numbers = [value for value in values.values() if value.isdigit()]
    spoken_of = [each for each in values if re.search(rf"\b{each}\b", name) and values[each] not in numbers]
    rest = [value for each, value in values.items() if each not in spoken_of]
    for each in spoken_of:
        amount = f"{rest.pop(rest.index(numbers[0]))} " if len(numbers) == 1 and numbers[0] in rest else ""
        name = re.sub(rf"\b{each}\b", f"{amount}{values[each]}", name, count=1)
    ending = ", ".join(rest[:-1]) + (" and " if len(rest) > 1 else "") + "".join(rest[-1:])
    sentence = f"{name} {ending}".strip()
    return sentence[:1].upper() + sentence[1:]


def _sample(name: str, shown: Mapping[str, Any]) -> str:
    """A value that a person could say for a parameter."""
    if "const" in shown or shown.get("enum"):
        return str(shown.get("const") or shown["enum"][0]).replace("_", " ")
    match shown.get("type", "string"):
        case "integer" | "number":
            unit = name.rpartition("_")[2] if "_" in name else ""
            return f"3 {unit}".strip() if 0 < len(unit) <= 3 and unit != "id" else "3"
        case "array":
            return "1, 2 and 3" if shown.get("items", {}).get("type") in ("integer", "number") else "Ann and Bob"
        case "boolean":
            return "yes"
        case _:
            if shown.get("format") in _SAMPLES:
                return _SAMPLES[shown["format"]]
            return next((sample for key, sample in _SAMPLES.items() if key in name.split("_")), "Ann")
