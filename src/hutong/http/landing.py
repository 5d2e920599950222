"""The page at `/`: what this is, and how to connect to it. Shown until a web client takes its place."""

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

from hutong.http.request import Request, Response

_HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]+\])(?P<port>:[0-9]{1,5})?", re.ASCII)

EXAMPLE_NODE = "http://localhost:8008"
"""The node that `examples/chat.py` talks to when it is told of no other."""


@dataclass(frozen=True)
class RegionAddress:
    """Where one region can be reached by itself: at `url`, or at `port` of the host that the page was asked from."""

    name: str
    server_name: str
    port: int | None = None
    url: str | None = None


class LandingPage:
    """`regions` (at least one) is asked anew for each request: ports are known only once they are bound."""

    auth = False

    def __init__(
        self, regions: Callable[[], Sequence[RegionAddress]], *, public_url: str | None, registration_open: bool
    ) -> None:
        source = files("hutong.http").joinpath("landing.html").read_text(encoding="utf-8")
        self._page = Template(source)
        self._regions = regions
        self._public_url = public_url
        self._registration_open = registration_open
        self._policy = "; ".join(
            (
                "default-src 'none'",
                "img-src data:",
                f"style-src {_hashes(source, 'style')}",
                f"script-src {_hashes(source, 'script')}",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            )
        )

    async def on_get(self, req: Request, resp: Response) -> None:
        host = _HOST.fullmatch(req.get_header("host") or "")
        name = host["name"] if host else "localhost"
        base = self._public_url or f"{req.scheme}://{host[0] if host else 'localhost'}"
        regions = self._regions()
        resp.content_type = "text/html; charset=utf-8"
        resp.set_header("content-security-policy", self._policy)
        resp.set_header("cache-control", "no-cache")
        resp.data = self._page.substitute(
            base=escape(base),
            chat_url="" if base == EXAMPLE_NODE else f"CHAT_URL={escape(base)} ",
            homes="".join(_home(region, base, f"{req.scheme}://{name}") for region in regions),
            count=_counted(len(regions)),
            region=escape(regions[0].name),
            server_name=escape(regions[0].server_name),
            other=escape(regions[-1].name),
            registration="open" if self._registration_open else "closed",
        ).encode()


def _home(region: RegionAddress, base: str, host: str) -> str:
    if region.url is not None:
        url = region.url
    else:
        url = f"{host}:{region.port}" if region.port is not None else base
    return _HOME.substitute(name=escape(region.name), server_name=escape(region.server_name), url=escape(url))


def _counted(regions: int) -> str:
    words = ("no homes", "one home", "two homes", "three homes", "four homes", "five homes", "six homes")
    return words[regions] if regions < len(words) else f"{regions} homes"


def _hashes(page: str, element: str) -> str:
    """The inline elements of a page as sources of its content security policy: these and no others."""
    texts = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts)


_HOME = Template("""
      <li class="home">
        <svg class="gate" viewBox="0 0 200 116" aria-hidden="true" focusable="false"><use href="#gate"/></svg>
        <h3>$name</h3>
        <p class="quiet">people here are <span class="mono">@name:$server_name</span></p>
        <div class="copy">
          <code>$url</code><button type="button" aria-label="Copy the address of $name">Copy</button>
        </div>
      </li>""")


def routes(page: LandingPage) -> list[tuple[str, object]]:
    return [("/", page)]
