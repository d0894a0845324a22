"""The hosted pages in a real browser: alone, and in a frame on a merchant's site."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from merchants.models import Merchant
from tests import browsing
from tests.billing.payments import hosted, sellers

if TYPE_CHECKING:
    from tests.scenes import Scene

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


class TestEveryPage:
    @pytest.mark.browser(expects=["409"])
    def test_is_accessible_in_both_schemes_and_fits_every_width(
        self, served_url: str, scene: "Scene", browser_page: Any
    ) -> None:
        found = []
        for name, path in hosted.pages(scene).items():
            browser_page.goto(served_url + path)
            found += [f"{name}: {fault}" for fault in browsing.faults_of_both_schemes(browser_page)]
            found += [f"{name}: sticks out {width}" for width in browsing.sticks_out(browser_page)]
        assert found == []


class TestConfirming:
    def test_is_done_with_one_press_at_the_bank(self, served_url: str, scene: "Scene", browser_page: Any) -> None:
        browser_page.goto(served_url + sellers.path(hosted.payment(scene.test)))
        browser_page.get_by_label("Test card number").fill("4000 0000 0000 3220")
        browser_page.get_by_role("button", name="Pay $42.00").click()
        browser_page.get_by_role("link", name="Continue").click()
        browser_page.get_by_role("button", name="Confirm").click()
        browser_page.get_by_role("link", name="Go on").wait_for()
        assert browser_page.locator("h2").text_content() == "Done"


class Shop(BaseHTTPRequestHandler):
    """A merchant's page with our payment page in a frame; it writes down what the frame tells it."""

    framed = ""

    def do_GET(self) -> None:
        body = f"""<!doctype html><title>Shop</title><iframe title="Pay" width="800" height="700" src="{self.framed}">
            </iframe><output></output><script>addEventListener("message", (event) => {{
            document.querySelector("output").textContent = event.origin + " " + JSON.stringify(event.data); }});
            </script>"""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def shop_url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class TestInAFrame:
    def test_pays_and_tells_the_page_around_it(
        self, served_url: str, shop_url: str, scene: "Scene", browser_page: Any
    ) -> None:
        Merchant.objects.filter(id=scene.test.id).update(allowed_origins=["https://other.example", shop_url])
        Shop.framed = served_url + sellers.path(hosted.payment(scene.test))
        browser_page.goto(shop_url)
        frame = browser_page.frame_locator("iframe")
        frame.get_by_label("Test card number").fill("4242 4242 4242 4242")
        frame.get_by_role("button", name="Pay $42.00").click()
        frame.get_by_text("Paid, thank you").wait_for()
        said = browser_page.locator("output")
        browser_page.wait_for_function("document.querySelector('output').textContent.includes('payment_success')")
        assert served_url in said.text_content()

    @pytest.mark.browser(expects=["frame-ancestors", "chrome-error"])
    def test_is_shown_on_no_site_that_is_not_listed(
        self, served_url: str, shop_url: str, scene: "Scene", browser_page: Any
    ) -> None:
        Shop.framed = served_url + sellers.path(hosted.payment(scene.test))
        browser_page.goto(shop_url)
        assert browser_page.frame_locator("iframe").get_by_text("Pay $42.00").count() == 0
