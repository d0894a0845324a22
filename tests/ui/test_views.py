"""The theme switch and the pages of errors."""

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


class TestSetTheme:
    @pytest.mark.parametrize(
        ("before", "sent", "after"), [("", {}, "dark"), ("dark", {}, "light"), ("", {"theme": "dark"}, "dark")]
    )
    def test_remembers_the_choice(self, before: str, sent: dict[str, str], after: str) -> None:
        client = Client()
        if before:
            client.cookies["theme"] = before
        assert client.post("/theme", sent).cookies["theme"].value == after

    def test_believes_no_other_word(self) -> None:
        assert "theme" not in Client().post("/theme", {"theme": '"><script>'}).cookies

    def test_goes_back_to_our_own_pages_alone(self) -> None:
        assert Client().post("/theme", {"next": "/portal/"})["Location"] == "/portal/"
        for elsewhere in ("https://evil.example/", "//evil.example", "javascript:alert(1)"):
            response = Client().post("/theme", {"next": elsewhere})
            assert response.status_code == 204
            assert "Location" not in response.headers

    def test_takes_no_get(self) -> None:
        assert Client().get("/theme").status_code == 405


class TestErrors:
    def test_not_found_says_so_with_the_request_id(self) -> None:
        response = Client().get("/nowhere/at/all")
        assert response.status_code == 404
        content = response.content.decode()
        assert "There is nothing here" in content
        assert response["X-Request-Id"] in content

    def test_a_stale_form_says_what_to_do(self) -> None:
        response = Client(enforce_csrf_checks=True).post("/accounts/signup/", {})
        assert response.status_code == 403
        assert b"This form has expired" in response.content

    def test_a_fault_says_what_was_not_charged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from dashboard.views import registration

        def fail(*args: object) -> None:
            raise RuntimeError("broken on purpose")

        monkeypatch.setattr(registration.pages, "answer", fail)
        response = Client(raise_request_exception=False).get("/accounts/signup/")
        assert response.status_code == 500
        assert b"Nothing was charged because of this error" in response.content


class TestHeaders:
    def test_allow_no_inline_script_or_style_anywhere(self) -> None:
        policy = Client().get("/accounts/login/")["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
