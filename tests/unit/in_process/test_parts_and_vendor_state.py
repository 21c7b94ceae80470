"""Messages of parts, and what a vendor must get back, through a run, a session, storage and a restart."""

import base64
from typing import Any

import pytest
from support.plan import PlanAgent, plan
from support.worlds import NEVER_S, world

from rojak_ray import WaitForAnswer, errors
from rojak_ray.agents.spec import encode_agent
from rojak_ray.messages import DATA_BYTES, FilePart, ImagePart, TextPart, VendorState, read_messages
from rojak_ray.sessions.caller import input_digest, messages_identity
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.memory import MemoryStore

PNG = b"\x89PNG\r\n\x1a\n"


async def test_parts_reach_the_model_and_come_back_in_the_answer():
    image = ImagePart(data=PNG, media_type="image/png")
    asked = [{"role": "user", "content": [{"type": "text", "text": plan("I see")}, image, FilePart(url="https://h/a")]}]
    async with world() as w:
        response = await w.rojak.run(agent=PlanAgent(), messages=asked)
        sent = w.model.asked[-1].messages[-1].content
    assert [part.type for part in sent] == ["text", "image", "file"]
    assert sent[1].data == base64.b64encode(PNG).decode()
    assert response.messages[0].content == sent
    assert response.messages[0].text == plan("I see")
    assert response.output == "I see"


async def test_bad_part_is_refused_before_anything_is_stored():
    store = MemoryStore()
    async with world(store) as w:
        session = await w.rojak.create_session("s", PlanAgent())
        before = len(await store.list(""))
        told = {"role": "user", "content": "hi"}
        with pytest.raises(errors.InvalidMessage, match="Message 1, part 1: its url"):
            await session.send_messages(
                [told, {"role": "user", "content": [TextPart(text="look"), ImagePart(url="/tmp/a")]}]
            )
        with pytest.raises(errors.InvalidMessage, match="Message 0, part 0"):
            await w.rojak.run(agent=PlanAgent(), messages={"role": "user", "content": [ImagePart()]})
        assert len(await store.list("")) == before


async def test_large_data_is_stored_once_however_long_the_session_lives():
    store = MemoryStore()
    settings = PoolSettings(sweep_s=NEVER_S, snapshot_bytes=4_000)
    image = ImagePart(data=PNG + b"\x01" * DATA_BYTES)
    async with world(store, settings) as w:
        session = await w.rojak.create_session("s", PlanAgent(), history_size=100)
        await session.send_messages([{"role": "user", "content": [TextPart(text=plan("I see")), image]}])
        for number in range(20):
            await session.send_messages(plan(f"turn {number}"))
    large = [key for key in await store.list("") if len(await store.get(key)) > DATA_BYTES]
    assert len(large) == 1
    assert "/blob/" in large[0]
    assert [key for key in await store.list("") if "/snap/" in key]

    async with world(store, settings) as w:
        session = await w.rojak.get_session("s")
        await session.send_messages(plan("again"))
        (shown,) = [m for m in w.model.asked[-1].messages if isinstance(m.content, list)]
    assert shown.content[1].data == image.data


async def test_an_answer_from_outside_may_be_an_image():
    def ask_person() -> Any:
        """Ask a person."""
        return WaitForAnswer(question="Which one?")

    async with world() as w:
        agent = PlanAgent(functions=[ask_person])
        handle = await w.rojak.start_run(agent=agent, messages=plan([["ask_person", {}]], "seen"))
        [question] = await _open_questions(handle)
        with pytest.raises(errors.InvalidMessage, match="The answer, part 0"):
            await handle.answer(question.call_id, ImagePart())
        for _ in range(2):
            await handle.answer(question.call_id, ["this", ImagePart(data=PNG)], request_id="a1")
        assert (await handle.result()).output == "seen"
        with pytest.raises(errors.RequestConflict):
            await handle.answer(question.call_id, ["that", ImagePart(data=PNG)], request_id="a1")
        [told] = [message.content for message in w.model.asked[-1].messages if message.role == "tool"]
    assert [part.type for part in told] == ["text", "image"]


async def _open_questions(handle):
    async for event in handle.events():
        if event.kind == "waiting" and event.reason == "answer":
            return await handle.open_questions()
    return []


async def test_vendor_state_goes_back_with_its_message_also_after_a_restart():
    store = MemoryStore()
    state = {"thinking": "hm", "signature": "c2ln"}
    async with world(store) as w:
        session = await w.rojak.create_session("s", PlanAgent())
        await session.send_messages(plan({"say": "done", "state": state}))
    async with world(store) as w:
        session = await w.rojak.get_session("s")
        response = await session.send_messages(plan("next"))
        back = [message.vendor for message in w.model.asked[-1].messages if message.role == "assistant"]
    assert back == [VendorState(vendor="plan", model="plan-1", state=state)]
    assert response.messages[-1].vendor is None


async def test_paused_answer_goes_on_by_itself():
    asked = plan({"say": "I search", "state": 1, "paused": True}, {"say": "Still", "state": 2, "paused": True}, "found")
    async with world() as w:
        response = await w.rojak.run(agent=PlanAgent(), messages=asked)
        questions = [[m.role for m in params.messages] for params in w.model.asked]
    assert response.output == "found"
    assert questions == [["system", "user"] + ["assistant"] * number for number in range(3)]
    assert response.usage.requests == 3


async def test_paused_answer_that_survives_a_crash_goes_on_from_where_it_was():
    store = MemoryStore()
    asked = plan({"say": "I search", "state": 1, "paused": True}, "found")
    async with world(store) as w:
        await w.rojak.run("r", PlanAgent(), asked)
    # The record of the first answer, without what came behind it, is what a crash leaves.
    objects = {key: await store.get(key) for key in await store.list("")}
    logs = sorted(key for key in objects if "/log/" in key)
    paused = next(place for place, key in enumerate(logs) if b'"paused":true' in objects[key])
    lost = logs[paused + 1 :]
    crashed = MemoryStore({key: data for key, data in objects.items() if key not in lost and "/tail/" not in key})
    async with world(crashed) as w:
        response = await w.rojak.get_run_result("r")
        (params,) = w.model.asked
    assert response.output == "found"
    assert [message.role for message in params.messages] == ["system", "user", "assistant"]


def test_identity_of_a_request_stays_what_earlier_versions_stored():
    spec = encode_agent(PlanAgent(name="A", instructions="i"), lambda fn, name: None)
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    records = read_messages(
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [call], "sender": "A"},
            {"role": "tool", "content": "r", "tool_call_id": "c"},
        ]
    )
    state = VendorState(vendor="v", model="m", state=1)
    with_state = [record.model_copy(update={"vendor": state}) for record in records]
    identity = messages_identity(records)
    assert set(identity[0]) == {"role", "content", "tool_calls", "tool_call_id", "sender"}
    assert identity == messages_identity(with_state)
    assert input_digest(spec, identity, {}, None, 100) == input_digest(
        spec, messages_identity(with_state), {}, None, 100
    )
