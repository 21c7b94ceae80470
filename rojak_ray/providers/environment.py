"""What a program's environment says about model vendors: whose key, which address.

It is captured when the program asks for a run, and goes with that run: other programs' runs never see it. What names
it in storage is a slow, salted hash, from which no key can be read.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.providers.builtin import vendor_class
from rojak_ray.providers.recipe import ClientRecipe
from rojak_ray.providers.vendor_activities import VendorActivities

_ROUNDS = 20_000
"""About ten milliseconds, once for each environment a process meets."""


@dataclass(frozen=True)
class _Variables:
    """The names by which a vendor's SDK finds its settings in an environment."""

    secrets: tuple[str, ...]
    """One of these has to be there."""

    settings: Mapping[str, str]
    """Arguments of the SDK's client by variable."""

    address: str
    """Where it goes by itself."""


_VENDORS: Mapping[str, _Variables] = {
    "openai": _Variables(
        secrets=("OPENAI_API_KEY",),
        settings={
            "OPENAI_API_KEY": "api_key",
            "OPENAI_BASE_URL": "base_url",
            "OPENAI_ORG_ID": "organization",
            "OPENAI_PROJECT_ID": "project",
        },
        address="https://api.openai.com/v1",
    ),
    "anthropic": _Variables(
        secrets=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        settings={
            "ANTHROPIC_API_KEY": "api_key",
            "ANTHROPIC_AUTH_TOKEN": "auth_token",
            "ANTHROPIC_BASE_URL": "base_url",
        },
        address="https://api.anthropic.com",
    ),
}


@dataclass(frozen=True)
class CapturedProvider:
    """A vendor as one environment reaches it."""

    type: str
    """The agent type it answers for."""

    settings: tuple[tuple[str, str], ...] = field(repr=False)
    """Arguments of the SDK's client, the address among them."""

    def fingerprint(self, namespace: str) -> str:
        """What names it in the runs of an installation: the same for the same settings, in every program."""
        return _fingerprint(self.type, self.settings, namespace)

    def activities(self) -> AgentActivities:
        """Activities with these settings and nothing of the environment they are used in."""
        vendor: type[VendorActivities] | None = vendor_class(self.type)
        if vendor is None:
            raise ValueError(f"There is no vendor {self.type!r}.")
        given = dict(self.settings)
        options: dict[str, Any] = {name: given.pop(name) for name in ("api_key", "base_url") if name in given}
        unset = tuple(set(_VENDORS[self.type].settings.values()) - set(dict(self.settings)))
        recipe = ClientRecipe(vendor.vendor.package, vendor.vendor.client_class, given, unset)
        return vendor(vendor.options_class(**options, client=recipe))


def captured_providers(environ: Mapping[str, str]) -> list[CapturedProvider]:
    """The vendors for which an environment has a key."""
    found: list[CapturedProvider] = []
    for type_name, variables in _VENDORS.items():
        given = {name: value.strip() for name in variables.settings if (value := environ.get(name, "")).strip()}
        if any(name in given for name in variables.secrets):
            settings = {variables.settings[name]: value for name, value in given.items()}
            settings.setdefault("base_url", variables.address)
            found.append(CapturedProvider(type_name, tuple(sorted(settings.items()))))
    return found


@functools.lru_cache(maxsize=256)
def _fingerprint(type_name: str, settings: tuple[tuple[str, str], ...], namespace: str) -> str:
    content = json.dumps([type_name, settings]).encode()
    salt = f"rojak-ray provider {namespace}".encode()
    return hashlib.pbkdf2_hmac("sha256", content, salt, _ROUNDS, dklen=16).hex()
