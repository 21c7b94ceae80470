"""An ask arrives as it was sent, whatever its owner is called."""

import pytest

from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.envelope import Envelope
from rojak_ray.runtime.host_map import HostMap


@pytest.mark.parametrize("owner_id", ["plain", 'quote " and \\', "line\nend", "zwölf 好", "[1, 2]"])
@pytest.mark.parametrize("ask", [b"{}", b'{"text": "two\nlines"}', b""])
def test_an_envelope_travels_whole(owner_id: str, ask: bytes) -> None:
    envelope = Envelope(Owner("session", owner_id), ("life", 3), "client", ask, HostMap(4, (2, 3), 7))
    assert Envelope.unpack(envelope.pack()) == envelope
