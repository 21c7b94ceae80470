"""Which function a reference means, in a process that knows some."""

import gc
import math

import pytest
from support.functions import Plain, decorated, plain, returning

from rojak_ray.agents.reference import fingerprint
from rojak_ray.agents.registry import FunctionRegistry, distinct, implementation_of
from rojak_ray.agents.spec import FunctionRef
from rojak_ray.errors import DuplicateName, FunctionNotFound


def made(source):
    """A function of a program's own module, which may be started again with other code."""
    namespace = {"__name__": "__main__"}
    exec(source, namespace)
    return namespace["f"]


OLD, NEW = made("def f(): return 'old'"), made("def f(): return 'new'")


def test_refer_names_a_callable_and_finds_it_again():
    registry = FunctionRegistry()
    ref = registry.refer(plain)
    assert ref == FunctionRef(name="plain", ref=fingerprint(plain))
    assert registry.resolve(ref).fn is plain
    assert registry.restore(ref) is plain
    assert registry.refer(plain) == ref


def test_refer_keeps_closures_of_one_name_apart():
    registry = FunctionRegistry()
    one, two = returning(1), returning(2)
    refs = [registry.refer(one), registry.refer(two)]
    assert refs[0].name == refs[1].name == "answer"
    assert [registry.resolve(ref).fn() for ref in refs] == [1, 2]


def test_refer_never_takes_a_new_callable_for_one_that_is_gone():
    registry = FunctionRegistry()
    refs = []
    for number in range(50):
        refs.append(registry.refer(returning(number)))
        gc.collect(0)
    assert [registry.resolve(ref).fn() for ref in refs] == list(range(50))


def test_referred_callable_is_not_known_by_name_alone():
    registry = FunctionRegistry()
    registry.refer(plain)
    assert registry.find(FunctionRef(name="plain")) is None


def test_unknown_function_is_named_in_the_error():
    with pytest.raises(FunctionNotFound, match="Function nowhere not found"):
        FunctionRegistry().resolve(FunctionRef(name="nowhere"))


def test_registered_function_is_found_by_name():
    registry = FunctionRegistry()
    registry.register(distinct([plain, decorated]))
    assert registry.resolve(FunctionRef(name="plain")).fn is plain
    assert registry.resolve(FunctionRef(name="decorated")).definition.settings.at_most_once


def test_registering_a_name_again_replaces_it():
    registry = FunctionRegistry()
    registry.register([implementation_of(OLD)])
    registry.register([implementation_of(NEW)])
    assert registry.resolve(FunctionRef(name="f")).fn is NEW


def test_callables_own_reference_wins_over_another_function_registered_under_its_name():
    registry = FunctionRegistry()
    ref = registry.refer(returning(1))
    registry.register([implementation_of(made("def answer(): return 'other'\nf = answer"))])
    assert registry.resolve(ref).fn() == 1
    assert registry.resolve(FunctionRef(name="answer")).fn() == "other"


def test_workers_registration_replaces_the_callable_of_the_same_origin():
    """New code reaches conversations that began with the old."""
    registry = FunctionRegistry()
    old = registry.refer(OLD)
    registry.register([implementation_of(NEW)])
    assert registry.resolve(old).fn is NEW


def test_workers_registration_of_one_closure_does_not_replace_another():
    registry = FunctionRegistry()
    first = registry.refer(returning(1))
    registry.register([implementation_of(returning(2))])
    assert registry.resolve(first).fn() == 1


def test_reference_nobody_here_made_falls_back_to_the_name():
    registry = FunctionRegistry()
    registry.register([implementation_of(NEW)])
    assert registry.resolve(FunctionRef(name="f", ref="0" * 32)).fn is NEW


def test_restore_gives_the_name_of_a_callable_that_is_not_known_here():
    registry = FunctionRegistry()
    assert registry.restore(FunctionRef(name="f", ref="0" * 32)) == "f"
    assert registry.restore(FunctionRef(name="f")) == "f"


def test_callable_that_is_both_a_function_and_instructions_is_two_references():
    registry = FunctionRegistry()
    called, writing = registry.refer(plain), registry.refer(plain, writes_instructions=True)
    assert called != writing
    assert registry.resolve(called).fn is registry.resolve(writing).fn is plain
    assert registry.resolve(called).definition.name == "plain"


def test_bound_methods_of_two_objects_are_kept_apart():
    registry = FunctionRegistry()
    refs = [registry.refer(Plain(n=number).method) for number in (1, 2)]
    assert [registry.resolve(ref).fn() for ref in refs] == [{"n": 1}, {"n": 2}]


def test_builtin_functions_are_kept_apart():
    registry = FunctionRegistry()
    refs = [registry.refer(fn, writes_instructions=True) for fn in (math.sin, math.cos)]
    assert [registry.resolve(ref).fn for ref in refs] == [math.sin, math.cos]


def test_same_callable_twice_is_no_duplicate():
    assert [found.ref.name for found in distinct([plain, plain, decorated])] == ["plain", "decorated"]
    assert len(distinct([returning(1), returning(1)])) == 1


def test_two_functions_of_one_name_in_a_worker_are_refused_naming_both_origins():
    with pytest.raises(DuplicateName, match=r"'f' \(__main__:f and __main__:f\)"):
        distinct([OLD, NEW])
    with pytest.raises(DuplicateName):
        distinct([returning(1), returning(2)])
