"""What browser tests do on every page: sign in, look for faults of access, measure what sticks out."""

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT

from merchants.models import User
from tests import scenes

WIDTHS = (320, 390, 768, 1280)
HEIGHT = 900

_VIOLATIONS = {"resultTypes": ["violations"]}
_OF_COLOURS = _VIOLATIONS | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
_COLOURS_SETTLED = """Promise.all(document.getAnimations().filter(it => it instanceof CSSTransition)
    .map(it => it.finished.catch(() => null)))"""


def sign_in(page: Any, url: str, user: User) -> None:
    """Give a browser the session of a person."""
    session = scenes.signed_in(user).cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": url}])


def open_page(page: Any, url: str) -> None:
    """Go somewhere; the page's scripts have run when this returns."""
    response = page.goto(url)
    assert response.status == 200, f"{url} answered {response.status}"


def faults(page: Any, options: dict[str, Any] = _VIOLATIONS) -> list[str]:
    """Name every rule of accessibility the page breaks, and where."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    violations = page.evaluate("async options => (await axe.run(options)).violations", options)
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary'].splitlines()[-1].strip()}"
        for rule in violations
        for node in rule["nodes"]
    ]


def faults_of_both_schemes(page: Any) -> list[str]:
    """Name what is wrong in the light, and what of the colours is in the dark: nothing else differs there."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")  # so that colours change at once
    found = faults(page)
    page.emulate_media(color_scheme="dark")
    page.evaluate(_COLOURS_SETTLED)
    found += [f"in the dark: {fault}" for fault in faults(page, _OF_COLOURS)]
    page.emulate_media(color_scheme="light")
    page.evaluate(_COLOURS_SETTLED)
    return found


def sticks_out(page: Any) -> list[str]:
    """Name the widths at which the page itself has to be scrolled sideways."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over > 0:
            found.append(f"{over} px at {width}")
    return found
