from hypothesis import given
from hypothesis import strategies as st

from rojak_ray.ids import id_key
from rojak_ray.storage.keys import check_key, is_key


def test_an_encoded_id_is_always_a_key() -> None:
    for each in ("plain", "Capital", "ä" * 60, "x" * 200, "a b", "..hidden"):
        assert check_key(f"v1/{id_key(each)}/log/00000000000000000001")


@given(st.text(alphabet="aA0._=-/ \\\n", max_size=20))
def test_a_key_stays_below_its_root(text: str) -> None:
    if is_key(text):
        assert all(segment and not segment.startswith(".") for segment in text.split("/"))
        assert set(text) <= set("aA0._=-/")
