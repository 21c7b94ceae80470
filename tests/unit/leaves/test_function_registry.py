"""Which function a reference means, in a process that knows some."""

import functools
import gc
import math
import sys
import types
import weakref

import pytest
from support.functions import Plain, decorated, plain, returning

from rojak_ray.agents.program import Program, program_of, this_program
from rojak_ray.agents.registry import FunctionRegistry, distinct
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.errors import DuplicateName, FunctionNotFound


def made(source, module="__main__", **names):
    """A function of a program's own module, which may be started again with other code."""
    namespace = {"__name__": module, **names}
    exec(source, namespace)
    return namespace["f"]


OLD, NEW = made("def f(): return 'old'"), made("def f(): return 'new'")


def after_restart(ref):
    """The reference as a later program finds it in storage: the one that gave it is gone."""
    return ref.model_copy(update={"ref": "0" * 16 + ".7"})


@pytest.fixture
def registry():
    return FunctionRegistry()


@pytest.fixture
def module():
    """A module of the program's own that can be loaded anew with other code."""
    loaded = sys.modules["own_tools"] = types.ModuleType("own_tools")

    def load(source):
        exec(source, vars(loaded))
        return loaded.f

    yield load
    del sys.modules["own_tools"]


def test_refer_names_a_callable_and_finds_it_again(registry):
    ref = registry.refer(plain)
    assert (ref.name, ref.path) == ("plain", "support.functions:plain")
    assert program_of(ref.ref) == this_program().id
    assert registry.resolve(ref).fn is plain
    assert registry.restore(ref) is plain
    assert registry.refer(plain) == ref


def test_callables_that_look_alike_are_kept_apart(registry):
    for make in (
        lambda: returning([]),
        lambda: functools.partial(plain),
        lambda: Plain().method,
        lambda: made("def f(): 1"),
    ):
        one, two = make(), make()
        refs = [registry.refer(each, writes_instructions=True) for each in (one, two)]
        assert refs[0].ref != refs[1].ref
        assert refs[0].content == refs[1].content is not None
        assert [registry.resolve(ref).fn for ref in refs] == [one, two]
        assert registry.find(after_restart(refs[0])) is None, "there are two of this content"


def test_refer_never_takes_a_new_callable_for_one_that_is_gone(registry):
    refs = []
    for number in range(50):
        refs.append(registry.refer(returning(number)))
        gc.collect(0)
    assert len({ref.ref for ref in refs}) == 50


def test_what_is_gone_is_forgotten(registry):
    for keeps_itself in (False, True):
        fn = returning([])
        if keeps_itself:
            fn.__closure__[0].cell_contents.append(fn)
        ref, seen = registry.refer(fn), weakref.ref(fn)
        del fn
        gc.collect()
        assert seen() is None
        assert registry.find(ref) is None
    registry.refer(plain)
    assert set(registry._met) == {registry.refer(plain).ref}


def test_function_whose_default_leads_back_to_it_is_forgotten(registry):
    class Request:
        pass

    request = Request()

    def whoami(who=request) -> str:
        return str(who)

    request.whoami = whoami
    seen = weakref.ref(request)
    registry.refer(whoami)
    del request, whoami
    gc.collect()
    assert seen() is None


def test_what_a_conversation_names_is_held_until_it_names_it_no_more(registry):
    one, two = returning([1]), returning([2])
    refs = [registry.refer(one), registry.refer(two)]
    registry.pin("s", refs)
    registry.needs("s", refs[:1], settled=False)
    del one, two
    gc.collect()
    assert [registry.resolve(ref).fn() for ref in refs] == [[1], [2]], "the second was pinned and something goes on"
    registry.needs("s", refs[:1], settled=True)
    gc.collect()
    assert registry.resolve(refs[0]).fn() == [1]
    assert registry.find(refs[1]) is None
    registry.needs("other", refs, settled=True)
    registry.needs("s", (), settled=True)
    assert registry.resolve(refs[0]).fn() == [1], "another conversation names it"
    registry.needs("other", (), settled=True)
    gc.collect()
    assert registry.find(refs[0]) is None
    assert not any((registry._held, registry._holders, registry._needed, registry._pinned))


def test_callables_that_cannot_be_referred_to_weakly_are_known(registry):
    class Slotted:
        __slots__ = ("n",)

        def __call__(self) -> int:
            return self.n

    objects = []
    for number in range(300):
        objects.append(Slotted())
        objects[-1].n = number
    refs = [registry.refer(each) for each in objects[-100:]]
    registry.pin("s", refs[:1])
    for each in objects[:-100]:
        registry.refer(each)
    assert registry.resolve(refs[0]).fn is objects[-100]
    assert registry.resolve(registry.refer(objects[-1])).fn is objects[-1]


def test_referred_callable_is_not_known_by_name_alone(registry):
    registry.refer(plain)
    assert registry.find(FunctionRef(name="plain")) is None


def test_unknown_function_is_named_in_the_error(registry):
    with pytest.raises(FunctionNotFound, match="Function nowhere not found") as caught:
        registry.resolve(FunctionRef(name="nowhere"))
    assert caught.value.missing == "nowhere"


def test_registered_function_is_found_by_name(registry):
    registry.register(distinct([plain, decorated]))
    assert registry.resolve(FunctionRef(name="plain")).fn is plain
    assert registry.resolve(FunctionRef(name="decorated")).definition.settings.at_most_once
    assert registry.resolve(FunctionRef(name="plain", ref="0" * 32)).fn is plain, "formats 1 and 2 say no more"


def test_registering_a_name_again_replaces_it(registry):
    registry.register(distinct([OLD]))
    registry.register(distinct([NEW]))
    assert registry.resolve(FunctionRef(name="f")).fn is NEW


@pytest.mark.parametrize("kind", ["closure", "method", "partial", "object", "function"])
def test_workers_registration_never_replaces_what_an_agent_brought(registry, kind):
    class Account:
        def __init__(self, owner):
            self.owner = owner

        def balance(self) -> str:
            return self.owner

        __call__ = balance

    def balance(owner="") -> str:
        return owner

    make = {
        "closure": returning,
        "method": lambda owner: Account(owner).balance,
        "partial": lambda owner: functools.partial(balance, owner),
        "object": Account,
        "function": lambda owner: made(f"def f(): return {owner!r}"),
    }[kind]
    mine, workers = make("mine"), make("worker's")
    ref = registry.refer(mine)
    registry.register(distinct([workers]))
    assert registry.resolve(ref).fn() == "mine"
    assert registry.resolve(FunctionRef(name=ref.name)).fn() == "worker's"
    assert registry.find(after_restart(registry.refer(make("third")))).fn() == "third", "by content"
    assert registry.find(after_restart(ref).model_copy(update={"content": "0" * 32})) is None


def test_new_code_under_an_import_path_reaches_what_began_with_the_old(registry, module):
    source = "def f():\n    return {!r}"
    old = module(source.format("old"))
    ref = registry.refer(old)
    assert ref.path == "own_tools:f"
    new = module(source.format("new"))
    assert registry.resolve(ref).fn is old, "while it lives, it is the one that was given"
    assert registry.refer(old).path == "own_tools:f"
    registry.refer(new)
    del old
    gc.collect()
    assert registry.resolve(ref).fn is new


def test_own_module_that_is_loaded_needs_no_registration_and_others_are_never_searched(registry, module):
    module("def f():\n    return 1\ndef g():\n    return 2\nfrom os import system")
    lost = FunctionRef(name="f", ref="0" * 16 + ".1", path="own_tools:f")
    assert registry.resolve(lost).fn() == 1
    for path in ("os:system", "own_tools:system", "own_tools:f.__code__", "builtins:eval", "nowhere:f", "json:dumps"):
        assert registry.find(lost.model_copy(update={"path": path})) is None


def test_function_of_the_script_is_found_by_its_content_without_being_registered(registry, monkeypatch):
    lost = after_restart(registry.refer(made("def f(): return OWNER", OWNER="alice")))
    gc.collect()
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "f", made("def f(): return OWNER", OWNER="bob"), raising=False)
    assert registry.find(lost) is None, "one script, another value of its global"
    monkeypatch.setattr(main, "f", made("def f(): return OWNER", OWNER="alice"))
    assert registry.find(lost).fn is main.f


def test_reference_nobody_here_made_is_not_taken_for_another_of_its_name(registry):
    registry.register(distinct([NEW]))
    assert registry.find(after_restart(registry.refer(OLD)).model_copy(update={"content": None})) is None


def test_restore_gives_the_name_of_a_callable_that_is_not_known_here(registry):
    assert registry.restore(FunctionRef(name="f", ref="0" * 16 + ".1")) == "f"
    assert registry.restore(FunctionRef(name="f")) == "f"


def test_callable_that_is_both_a_function_and_instructions_is_two_references(registry):
    called, writing = registry.refer(plain), registry.refer(plain, writes_instructions=True)
    assert called != writing
    assert registry.resolve(called).fn is registry.resolve(writing).fn is plain
    assert registry.resolve(called).definition.name == "plain"


def test_bound_method_is_the_same_each_time_it_is_accessed(registry):
    objects = [Plain(n=number) for number in (1, 2)]
    refs = [registry.refer(each.method) for each in objects]
    assert [registry.refer(each.method) for each in objects] == refs
    assert [registry.resolve(ref).fn() for ref in refs] == [{"n": 1}, {"n": 2}]


def test_builtin_functions_are_kept_apart(registry):
    refs = [registry.refer(fn, writes_instructions=True) for fn in (math.sin, math.cos)]
    assert [registry.resolve(ref).fn for ref in refs] == [math.sin, math.cos]


def test_programs_never_give_the_same_token():
    programs = [Program() for _ in range(3)]
    assert len({each.describe(plain).token for each in programs}) == 3


def test_same_callable_twice_is_no_duplicate():
    assert [found.ref.name for found in distinct([plain, plain, decorated])] == ["plain", "decorated"]
    bound = Plain()
    assert len(distinct([bound.method, bound.method])) == 1


def test_two_functions_of_one_name_in_a_worker_are_refused_naming_both_origins():
    with pytest.raises(DuplicateName, match=r"'f' \(__main__:f and __main__:f\)"):
        distinct([OLD, NEW])
    with pytest.raises(DuplicateName):
        distinct([returning([]), returning([])])  # each has a list of its own
