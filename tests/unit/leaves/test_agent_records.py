"""Agents as stored, and the way back to the caller's class."""

import copy
import json
import pickle
import types
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from support.functions import Plain, plain, returning

from rojak_ray.agents.agent import (
    Agent,
    AgentInstructionOptions,
    AnthropicAgent,
    OfflineAgent,
    OpenAIAgent,
    Retriever,
)
from rojak_ray.agents.registry import FunctionRegistry
from rojak_ray.agents.spec import AgentSpec, FunctionRef, PolicySpec, decode_agent, encode_agent
from rojak_ray.errors import DuplicateName, InvalidAgent
from rojak_ray.retry import RetryOptions, RetryPolicy


class Local(Agent):
    """Not decorated: its fields are whatever it annotates or sets."""

    type = "local"
    model = "own"
    temperature: float = 0.5
    stops: Any = None


@dataclass
class Decorated(Agent):
    type: str = "decorated"
    model: str = "own"
    inference_config: dict[str, Any] | None = None
    region: str = "sg"
    limits: dict[str, Any] = field(default_factory=dict)


class Grandchild(Decorated):
    type = "grandchild"
    depth: int = 2


class Constructed(Agent):
    """With a constructor of its own."""

    def __init__(self, name, region="sg"):
        super().__init__(model="own", type="constructed", name=name)
        self.instructions = f"You serve {region}."


@dataclass
class Shelf(Retriever):
    type: str = "shelf"
    top: int = 5


def round_trip(agent, registry=None, **classes):
    registry = registry or FunctionRegistry()
    spec = encode_agent(agent, registry.refer)
    stored = AgentSpec.model_validate_json(spec.model_dump_json())
    assert stored == spec
    assert stored.digest() == spec.digest()
    back = decode_agent(stored, classes, registry.restore)
    assert encode_agent(back, registry.refer) == spec
    return back


AGENTS = {
    "openai defaults": OpenAIAgent(),
    "anthropic": AnthropicAgent(name="Claude", inference_config={"max_tokens": 5}),
    "offline": OfflineAgent(),
    "everything": OpenAIAgent(
        name="A",
        model="m",
        instructions="Speak ünï 🦉.",
        functions=["named", plain, returning(1)],
        tool_choice={"type": "function", "function": {"name": "plain"}},
        parallel_tool_calls=False,
        retriever=Retriever(type="qdrant"),
        retry_options=RetryOptions(1.5, RetryPolicy(0.5, 3.0, 9, 4, ["ValueError"])),
        inference_config={"temperature": 0.1, "stop": ["a"]},
    ),
    "instructions callable": OpenAIAgent(instructions=plain),
    "instructions by name": OpenAIAgent(instructions=AgentInstructionOptions(name="write")),
}


@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS.keys())
def test_builtin_agent_comes_back_as_it_was(agent):
    assert round_trip(agent) == agent


def test_instructions_as_a_dictionary_come_back_as_options():
    agent = OpenAIAgent(instructions={"type": "function", "name": "write"})
    assert round_trip(agent).instructions == AgentInstructionOptions(name="write")


@pytest.mark.parametrize(
    ("agent", "cls"),
    [
        (Local(name="L", temperature=0.9, stops=["x"]), Local),
        (Local(), Local),
        (Decorated(name="D", region="us", limits={"rpm": 3}, inference_config={"a": 1}), Decorated),
        (Grandchild(region="eu", depth=7), Grandchild),
    ],
    ids=["undecorated", "undecorated defaults", "decorated", "undecorated child of decorated"],
)
def test_custom_agent_comes_back_with_its_own_fields(agent, cls):
    back = round_trip(agent, **{agent.type: cls})
    assert type(back) is cls
    assert back == agent


def test_undecorated_subclass_is_decoded_before_it_was_ever_made():
    class Late(Agent):
        type = "late"
        model = "m"
        speed: int = 1

    spec = AgentSpec(type="late", name="L", model="m", instructions="x", extra={"speed": 9})
    back = decode_agent(spec, {"late": Late}, FunctionRegistry().restore)
    assert type(back) is Late
    assert back.speed == 9


def test_subclass_defined_in_a_function_comes_back():
    @dataclass
    class Inner(Agent):
        type: str = "inner"
        model: str = "m"
        color: str = "red"

    assert round_trip(Inner(color="blue"), inner=Inner) == Inner(color="blue")


def test_subclass_with_its_own_constructor_comes_back():
    agent = Constructed("C", region="eu")
    back = round_trip(agent, constructed=Constructed)
    assert type(back) is Constructed
    assert (back.name, back.instructions, back.model) == ("C", "You serve eu.", "own")


def test_field_that_the_constructor_does_not_take_comes_back():
    @dataclass
    class Counting(Agent):
        type: str = "counting"
        model: str = "m"
        count: int = field(default=0, init=False)

    agent = Counting()
    agent.count = 5
    assert round_trip(agent, counting=Counting).count == 5


def test_custom_type_unknown_here_is_a_plain_agent_with_the_extra_fields():
    spec = encode_agent(Decorated(name="D", region="us", limits={"rpm": 3}), FunctionRegistry().refer)
    back = decode_agent(spec, {}, lambda ref: ref.name)
    assert type(back) is Agent
    assert (back.type, back.name, back.region, back.limits) == ("decorated", "D", "us", {"rpm": 3})


def test_custom_type_unknown_here_can_be_passed_on_without_loss():
    """`send_messages(..., agent=response.agent)` from a process that does not have the class."""
    agent = Decorated(name="D", region="us", inference_config={"seed": 1})
    spec = encode_agent(agent, FunctionRegistry().refer)
    back = decode_agent(spec, {}, lambda ref: ref.name)
    assert encode_agent(back, FunctionRegistry().refer) == spec


def test_retriever_with_settings_comes_back_with_them():
    back = round_trip(OpenAIAgent(retriever=Shelf(top=9)))
    assert (back.retriever.type, back.retriever.top) == ("shelf", 9)


def test_several_retrievers_come_back_in_their_order_each_once():
    given = [Shelf(top=9), Retriever("other"), Shelf(top=9)]
    spec = encode_agent(OpenAIAgent(retriever=given), FunctionRegistry().refer)
    assert [(one.type, one.settings) for one in spec.retrievers] == [("shelf", {"top": 9}), ("other", {})]
    back = round_trip(OpenAIAgent(retriever=given))
    assert [one.type for one in back.retriever] == ["shelf", "other"]
    assert round_trip(OpenAIAgent(retriever=[])).retriever is None


def test_agent_with_one_retriever_is_stored_as_it_was_before_there_could_be_several():
    spec = encode_agent(OpenAIAgent(retriever=Retriever("x")), FunctionRegistry().refer)
    assert spec.model_dump(mode="json")["retriever"] == {"type": "x", "settings": {}}


def test_callables_not_known_here_come_back_as_names():
    gone = json.dumps({"name": "plain", "ref": "f" * 16 + ".1"})  # given by a program that is gone
    spec = encode_agent(OpenAIAgent(functions=["plain"], instructions="x"), FunctionRegistry().refer)
    ref = FunctionRef.model_validate_json(gone)
    spec = spec.model_copy(update={"functions": (ref,), "instructions": ref})
    back = decode_agent(spec, {}, FunctionRegistry().restore)
    assert back.functions == ["plain"]
    assert isinstance(back.instructions, AgentInstructionOptions)


def test_same_function_twice_is_listed_once():
    spec = encode_agent(OpenAIAgent(functions=[plain, plain, "named", "named"]), FunctionRegistry().refer)
    assert [ref.name for ref in spec.functions] == ["plain", "named"]


@pytest.mark.parametrize("functions", [[returning(1), returning(2)], [plain, "plain"]])
def test_two_different_functions_of_one_name_are_refused(functions):
    with pytest.raises(DuplicateName, match="Agent 'A'"):
        encode_agent(OpenAIAgent(name="A", functions=functions), FunctionRegistry().refer)


def takes_a_generator(a: types.GeneratorType) -> None: ...


def test_instructions_may_be_none():
    spec = encode_agent(OpenAIAgent(instructions=None), FunctionRegistry().refer)
    assert spec.instructions == ""


def test_tool_choice_may_name_a_tool_of_the_vendors():
    agent = OpenAIAgent(tool_choice="web_search", inference_config={"tools": [{"type": "web_search"}]})
    assert encode_agent(agent, FunctionRegistry().refer).tool_choice == "web_search"


def test_options_changed_after_they_were_made_are_looked_at_again():
    agent = OpenAIAgent(name="Marvin")
    agent.retry_options.timeout_in_seconds = "5"
    with pytest.raises(InvalidAgent, match=r"retry_options of agent 'Marvin'.*timeout_in_seconds"):
        encode_agent(agent, FunctionRegistry().refer)


UNSTORABLE = {
    "model empty": {"model": ""},
    "model none": {"model": None},
    "type empty": {"type": ""},
    "instructions of a class": {"instructions": Retriever},
    "instructions nobody can call": {"instructions": lambda a, b: "x"},
    "instructions in pieces": {"instructions": lambda: (yield "x")},
    "instructions by a name no function has": {"instructions": AgentInstructionOptions("a b")},
    "function name no function has": {"functions": ["a b"]},
    "function name empty": {"functions": [""]},
    "functions a dictionary": {"functions": {"plain": plain}},
    "functions that are used up": {"functions": iter([plain])},
    "function with a parameter nobody can write": {"functions": [takes_a_generator]},
    "tool choice of no function": {"tool_choice": "nothere"},
    "tool choice number": {"tool_choice": 5},
    "tool choice function": {"tool_choice": plain, "functions": [plain]},
    "parallel text": {"parallel_tool_calls": "no"},
    "reset none": {"reset_tool_choice": None},
    "config empty list": {"inference_config": []},
    "model blank": {"model": "  "},
    "instructions number": {"instructions": 3},
    "instructions half a character": {"instructions": "\ud800"},
    "instructions of another form": {"instructions": {"type": "text", "name": "x"}},
    "instructions without name": {"instructions": {"type": "function"}},
    "functions text": {"functions": "plain"},
    "functions none": {"functions": None},
    "function number": {"functions": [3]},
    "function none": {"functions": [None]},
    "tool choice object": {"tool_choice": object()},
    "config with a set": {"inference_config": {"a": {1, 2}}},
    "config with nan": {"inference_config": {"a": float("nan")}},
    "config no mapping": {"inference_config": ["not", "a", "mapping"]},
    "retry options none": {"retry_options": None},
    "retry options a policy": {"retry_options": RetryPolicy()},
    "retriever text": {"retriever": "qdrant"},
    "retriever setting object": {"retriever": Shelf(top=object())},
    "retriever of another class": {"retriever": Plain(type="x")},
    "retriever without type": {"retriever": Retriever(type="")},
    "retrievers with a text among them": {"retriever": [Retriever("x"), "qdrant"]},
}


@pytest.mark.parametrize("fields", UNSTORABLE.values(), ids=UNSTORABLE.keys())
def test_agent_that_cannot_be_stored_is_refused_by_name(fields):
    with pytest.raises(InvalidAgent, match="Marvin") as refused:
        encode_agent(OpenAIAgent(name="Marvin", **fields), FunctionRegistry().refer)
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize("name", ["", None, 3, "\ud800"])
def test_agent_without_a_name_is_refused(name):
    with pytest.raises(InvalidAgent, match="name"):
        encode_agent(OpenAIAgent(name=name), FunctionRegistry().refer)


@pytest.mark.parametrize("given", [None, "agent", {"name": "A"}, OpenAIAgent])
def test_what_is_no_agent_is_refused(given):
    with pytest.raises(InvalidAgent):
        encode_agent(given, FunctionRegistry().refer)


def test_extra_field_that_cannot_be_stored_is_refused_naming_it():
    with pytest.raises(InvalidAgent, match=r"limits\.x"):
        encode_agent(Decorated(limits={"x": object()}), FunctionRegistry().refer)


def test_digest_differs_when_any_part_does():
    refer = FunctionRegistry().refer
    variants = [
        OpenAIAgent(), OpenAIAgent(name="x"), OpenAIAgent(model="x"), OpenAIAgent(instructions="x"),
        OpenAIAgent(functions=[plain]), OpenAIAgent(functions=["plain"]), OpenAIAgent(functions=[returning(1)]),
        OpenAIAgent(functions=[returning(2)]), OpenAIAgent(tool_choice="auto"), OpenAIAgent(parallel_tool_calls=False),
        OpenAIAgent(retriever=Retriever("x")), OpenAIAgent(retriever=[Retriever("x")]),
        OpenAIAgent(retry_options=RetryOptions(61)),
        OpenAIAgent(retry_options=RetryOptions(60, RetryPolicy())), OpenAIAgent(inference_config={}),
        AnthropicAgent(model="gpt-4o-mini"), Decorated(), Decorated(region="x"),
    ]  # fmt: skip
    assert len({encode_agent(agent, refer).digest() for agent in variants}) == len(variants)


def test_instructions_callable_is_referred_not_called_and_needs_no_name_or_schema():
    registry = FunctionRegistry()
    agent = OpenAIAgent(instructions=lambda context_variables, anything=None: "never called")
    spec = encode_agent(agent, registry.refer)
    assert isinstance(spec.instructions, FunctionRef)
    assert registry.resolve(spec.instructions).fn is agent.instructions
    assert round_trip(agent, registry=registry) == agent


def test_stored_policy_is_the_policy_given():
    agent = OpenAIAgent(retry_options=RetryOptions(2, RetryPolicy(maximum_attempts=3)))
    spec = encode_agent(agent, FunctionRegistry().refer)
    assert (spec.retry.timeout_s, spec.retry.policy) == (2, PolicySpec(maximum_attempts=3))


def test_undecorated_subclass_of_an_undecorated_subclass_has_its_defaults():
    class Base(Agent):
        type: str = "base"
        model: str = "base-1"

    class Derived(Base):
        type: str = "derived"

    made = Derived(name="D")
    assert (made.type, made.model, made.name) == ("derived", "base-1", "D")


class Undecorated(Agent):
    type = "undecorated"
    model = "own"


@dataclass
class Placed(Agent):
    """With a field of its own that has a place."""

    model: str = field(default="own", kw_only=True)
    type: str = field(default="placed", kw_only=True)
    volume: int = 1


@pytest.mark.parametrize(
    "make",
    [Agent, OpenAIAgent, AnthropicAgent, OfflineAgent, Local, Undecorated, Decorated, Grandchild],
    ids=lambda one: one.__name__,
)
@pytest.mark.parametrize("given", [("Poet",), ("gpt-9", "openai", "Poet"), (None,), tuple("abcdefghijklmnop")])
def test_what_an_agent_is_told_by_place_is_refused(make, given):
    with pytest.raises(InvalidAgent, match=rf"write {make.__name__}\(name=\.\.\.\)"):
        make(*given)


def test_own_fields_and_constructors_may_have_places():
    assert Placed(5).volume == 5
    assert Constructed("Poet", "my").instructions == "You serve my."
    with pytest.raises(InvalidAgent):
        Placed(5, "Poet")


@pytest.mark.parametrize("agent", [OpenAIAgent(name="Poet"), Placed(5), Constructed("Poet"), Grandchild(depth=3)])
def test_agents_are_copied_and_replaced_as_other_dataclasses(agent):
    assert copy.deepcopy(agent) == copy.copy(agent) == pickle.loads(pickle.dumps(agent)) == agent
    if not isinstance(agent, Constructed):
        assert replace(agent, name="Bard").name == "Bard"
