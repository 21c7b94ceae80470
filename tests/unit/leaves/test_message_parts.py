"""Messages of parts: every form people have them in is read, and what cannot be sent is refused in words."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rojak_ray.errors import InvalidMessage
from rojak_ray.messages import (
    ConversationMessage,
    FilePart,
    ImagePart,
    Message,
    TextPart,
    VendorState,
    describe_content,
    read_messages,
    to_public,
)
from rojak_ray.messages.part_forms import MAX_PART_BYTES

PNG = b"\x89PNG\r\n\x1a\n rest"
JPEG = b"\xff\xd8\xff\xe0 rest"
PDF = b"%PDF-1.7 rest"


def b64(data):
    return base64.b64encode(data).decode()


PNG_64, JPEG_64, PDF_64 = b64(PNG), b64(JPEG), b64(PDF)
URL = "https://example.com/a%20b.png?size=1"


def read_one(part, role="user"):
    message = {"role": role, "content": [{"type": "text", "text": "look"}, part], "tool_call_id": "c1"}
    (read,) = read_messages(message)
    return read.content[1]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (TextPart(text="a"), TextPart(text="a")),
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, TextPart(text="a")),
        ({"type": "input_text", "text": "a"}, TextPart(text="a")),
        ({"type": "output_text", "text": "a", "annotations": []}, TextPart(text="a")),
        ({"type": "refusal", "refusal": "no"}, TextPart(text="no")),
        (ImagePart(url=URL), ImagePart(url=URL)),
        (ImagePart(data=PNG), ImagePart(data=PNG_64, media_type="image/png")),
        (ImagePart(data=PNG_64), ImagePart(data=PNG_64, media_type="image/png")),
        (ImagePart(data=JPEG, media_type="image/png"), ImagePart(data=JPEG_64, media_type="image/jpeg")),
        (ImagePart(data=b"??", media_type="IMAGE/JPG"), ImagePart(data="Pz8=", media_type="image/jpeg")),
        ({"type": "image", "url": URL}, ImagePart(url=URL)),
        ({"type": "image", "data": PNG_64}, ImagePart(data=PNG_64, media_type="image/png")),
        ({"type": "image_url", "image_url": {"url": URL, "detail": "low"}}, ImagePart(url=URL, detail="low")),
        ({"type": "image_url", "image_url": URL}, ImagePart(url=URL)),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG_64}"}},
            ImagePart(data=PNG_64, media_type="image/png"),
        ),
        ({"type": "input_image", "image_url": URL, "detail": "high"}, ImagePart(url=URL, detail="high")),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG_64}},
            ImagePart(data=PNG_64, media_type="image/png"),
        ),
        ({"type": "image", "source": {"type": "url", "url": URL}}, ImagePart(url=URL)),
        (FilePart(data=PDF, name="a.pdf"), FilePart(data=PDF_64, media_type="application/pdf", name="a.pdf")),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF_64}"}},
            FilePart(data=PDF_64, media_type="application/pdf", name="a.pdf"),
        ),
        ({"type": "file", "file": {"filename": "a", "file_data": URL}}, FilePart(url=URL, name="a")),
        ({"type": "input_file", "file_url": URL}, FilePart(url=URL)),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": PDF_64},
            FilePart(data=PDF_64, media_type="application/pdf", name="a.pdf"),
        ),
        (
            {"type": "document", "title": "a", "source": {"type": "text", "media_type": "text/plain", "data": "hé"}},
            FilePart(data=b64("hé".encode()), media_type="text/plain", name="a"),
        ),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF_64}},
            FilePart(data=PDF_64, media_type="application/pdf"),
        ),
    ],
)
@pytest.mark.parametrize("role", ["user", "tool"])
def test_part_in_any_accepted_form_is_read(part, expected, role):
    assert read_one(part, role) == expected


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (7, "of type int"),
        ("text", "of type str; write TextPart"),
        ({}, "the type None"),
        ({"type": ["text"]}, "cannot be taken"),
        ({"type": "hologram"}, "'hologram' cannot be taken; write TextPart"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "transcribe"),
        ({"type": "tool_result", "tool_use_id": "x"}, "role 'tool'"),
        ({"type": "tool_use", "id": "x"}, "tool_calls"),
        ({"type": "text"}, "'text' is wrong"),
        ({"type": "text", "text": "\ud800"}, "half a character"),
        ({"type": "image_url"}, "no 'image_url'"),
        ({"type": "image_url", "image_url": {}}, "no 'image_url'"),
        ({"type": "input_image", "file_id": "file-1"}, "uploaded"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "uploaded"),
        ({"type": "image", "source": {"type": "file", "file_id": "x"}}, "uploaded"),
        ({"type": "image", "source": {"type": "ftp"}}, "'ftp'"),
        ({"type": "image", "source": {"type": "base64"}}, "no 'data'"),
        ({"type": "document"}, "no 'source'"),
        (ImagePart(), "neither 'url' nor 'data'"),
        (ImagePart(url=URL, data=PNG), "both 'url' and 'data'"),
        (ImagePart(url=f"data:image/png;base64,{PNG_64}", data=PNG), "both 'url' and 'data'"),
        (ImagePart(data="not base64!"), "not base64"),
        (ImagePart(data="YWJ"), "not base64"),
        (ImagePart(data="YWJj\ud800"), "not base64"),
        (ImagePart(data=""), "empty"),
        (ImagePart(data=b"hello"), "no image of a known kind"),
        (ImagePart(data=b"BM6...", media_type="image/bmp"), "convert the image"),
        (ImagePart(data=PNG, media_type="a picture"), "media_type 'a picture'"),
        (ImagePart(url="file:///etc/passwd"), "no http or https address"),
        (ImagePart(url="/tmp/a.png"), "read_bytes()"),
        (ImagePart(url="https://"), "no http or https address"),
        (ImagePart(url="https://exa mple.com/a.png"), "no http or https address"),
        (ImagePart(url="https://example.com/\n"), "no http or https address"),
        (ImagePart(url="http://[::1/"), "no http or https address"),
        (ImagePart(url="https://example.com/" + "a" * 9000), "9020 characters"),
        (ImagePart(url="data:image/svg+xml,<svg/>"), "not in base64"),
        ({"type": "image", "url": URL, "detail": "extreme"}, "'detail' is wrong"),
        (FilePart(data=b"?"), "needs a media_type"),
        (FilePart(data=PDF, name="\ud800.pdf"), "name holds half a character"),
        (FilePart(data="A" * (MAX_PART_BYTES * 4 // 3 + 8), media_type="text/plain"), "pass a url"),
    ],
)
def test_part_that_cannot_be_sent_is_refused_naming_message_and_part(part, words):
    with pytest.raises(InvalidMessage) as caught:
        read_messages(["", {"role": "user", "content": [TextPart(text="look"), part]}][1:])
    assert "Message 0, part 1: " in str(caught.value)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_users_and_functions_show_images(role):
    with pytest.raises(InvalidMessage, match=f"Message 0, part 0: {role} messages hold text only"):
        read_messages({"role": role, "content": [ImagePart(url=URL)]})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "text", "text": "only"}], "only"),
        ([TextPart(text=""), TextPart(text="only")], "only"),
        ((TextPart(text="a"), TextPart(text="b")), (TextPart(text="a"), TextPart(text="b"))),
    ],
)
def test_single_text_is_text(content, expected):
    assert read_messages({"role": "user", "content": content}) == (Message(role="user", content=expected),)


@pytest.mark.parametrize("content", [[], [TextPart(text="")], {"type": "text", "text": "a"}, iter(["a"]), b"text", 7])
def test_content_that_says_nothing_or_is_no_list_is_refused(content):
    with pytest.raises(InvalidMessage, match="Message 0"):
        read_messages([{"role": "user", "content": content}])


def test_parts_come_back_to_the_caller_and_can_be_sent_again():
    parts = [TextPart(text="a"), ImagePart(data=PNG), FilePart(data=PDF, name="b.pdf")]
    (stored,) = read_messages({"role": "user", "content": parts})
    public = to_public(stored)
    assert public.text == "a"
    assert public.content[1].media_type == "image/png"
    assert read_messages([public]) == (stored,)
    assert Message.model_validate_json(stored.model_dump_json()) == stored


def test_description_names_what_is_shown_without_its_data():
    parts = [TextPart(text="a"), ImagePart(url=URL), FilePart(data="A" * 4096, media_type="text/plain", name="n.txt")]
    assert describe_content(parts) == f"a\n[image {URL}]\n[file n.txt, text/plain, 4 KB]"
    assert PNG_64 not in repr(ImagePart(data=PNG))


def test_vendor_state_travels_with_the_message_and_back():
    state = VendorState(vendor="v", model="m", state={"signature": "c2ln"})
    stored = Message(role="assistant", content="hi", vendor=state)
    public = to_public(stored)
    assert read_messages([public]) == (stored,)
    assert read_messages([json.loads(stored.model_dump_json())]) == (stored,)
    assert "c2ln" not in repr(public)


@pytest.mark.parametrize("vendor", ["openai", 7, [], {"name": "x"}, {"vendor": 1, "model": "m", "state": None}])
def test_key_of_that_name_that_is_not_ours_is_ignored(vendor):
    assert read_messages({"role": "user", "content": "hi", "vendor": vendor}) == (Message(role="user", content="hi"),)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "image_url", "file", "source", "url", "data", "media_type", "name"]),
            inner | st.sampled_from(["text", "image", "image_url", "file", "document", "base64", URL, PNG_64]),
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(json_values, max_size=3))
def test_whatever_stands_in_a_list_is_read_or_refused_in_words(parts):
    refused = None
    try:
        (message,) = read_messages([ConversationMessage("user", parts)])
    except InvalidMessage as error:
        refused = str(error)
    if refused is None:
        assert Message.model_validate_json(message.model_dump_json()) == message
    else:
        assert "Message 0" in refused
