"""Which proxy the environment names for an address, and nothing else that HTTP libraries take from there.

What they call trusting the environment also reads `~/.netrc`: its sign-ins, and the one it has for every host
(`default`), would be sent to the vendor, or refused beside our own. Each file and variable of ours is the vendor's.
"""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def proxy_for(url: str) -> str | None:
    """The address of the proxy that requests to `url` go through by `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = getproxies().get(parts.scheme)
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"
