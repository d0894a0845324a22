"""The audit log's page."""

import re

from merchants import audit, ids
from merchants.audit import Actor
from merchants.models import ApiKey, User
from tests import scenes

PATH = "/judgebox/test/settings/audit-log"
HTMX = {"HX-Request": "true"}


def page(scene: scenes.Scene, **query: str) -> str:
    """The answer to a filter."""
    return scenes.signed_in(scene.user).get(PATH, query, headers=HTMX).content.decode()


def write(scene: scenes.Scene, count: int = 1, actor: str = "system", action: str = "price.revised") -> None:
    for _ in range(count):
        audit.append(
            merchant_id=scene.test.id,
            actor=Actor(actor, request_id="req_12345678", address="192.0.2.7"),
            action=action,
            target="price_1",
            changes={"before": "0.01", "after": "<b>0.02</b>", "parts": ["a", "b"], "more": {"x": 1}},
            now=scene.now,
        )


class TestListing:
    def test_says_who_did_what_to_what_and_from_where(self, quiet: scenes.Scene) -> None:
        write(quiet)
        content = page(quiet)
        for word in ("Farthing", "Price revised", "price_1", "192.0.2.7", "req_12345678", "0.01", "a, b"):
            assert word in content
        assert "&lt;b&gt;0.02&lt;/b&gt;" in content

    def test_calls_people_and_keys_by_their_names(self, quiet: scenes.Scene) -> None:
        key = ApiKey.objects.get(merchant=quiet.test)
        write(quiet, actor=f"key:{ids.text('key', key.id)}")
        write(quiet, actor="key:nonsense")
        content = page(quiet)
        assert f"Key “{key.name}”" in content
        assert "key:nonsense" in content
        assert quiet.user.email in content  # who registered

    def test_pages_without_repeating_or_skipping(self, quiet: scenes.Scene) -> None:
        write(quiet, count=60)
        total = quiet.test.auditentry_set.count()
        numbers: list[int] = []
        cursor = ""
        for _ in range(3):
            content = page(quiet, cursor=cursor)
            numbers += [int(number) for number in re.findall(r"#(\d+)<", content)]
            older = re.search(r'cursor=(older[^"&]+)"[^>]*>Older', content)
            cursor = older[1].replace("%7E", "~") if older else ""
        assert numbers == list(range(total, 0, -1))
        assert cursor == ""
        newer = page(quiet, cursor="newer~25")
        assert [int(number) for number in re.findall(r"#(\d+)<", newer)] == list(range(50, 25, -1))

    def test_narrows(self, quiet: scenes.Scene) -> None:
        write(quiet, actor=f"user:{ids.text('usr', quiet.user.id)}")
        other = User.objects.create_user("other@example.com", scenes.PASSWORD)
        write(quiet, actor=f"user:{ids.text('usr', other.id)}", action="plan.created")
        assert "Plan created" not in page(quiet, action="price.")
        assert "Price revised" in page(quiet, action="price.")
        assert "other@example.com" not in page(quiet, q=quiet.user.email)
        assert "Plan created" in page(quiet, q="Other@example.com")
        assert "Nothing matches" in page(quiet, actor="system")
        assert "Price revised" in page(quiet, q="req_12345678", period="30d")
        assert "Nothing matches" in page(quiet, q="nobody@example.com")

    def test_takes_any_cursor_for_a_page(self, quiet: scenes.Scene) -> None:
        for cursor in ("x", "older~", "older~x", "older~-1", f"older~{9**40}", "newer~٣"):
            assert "Organization registered" in page(quiet, cursor=cursor)

    def test_shows_one_merchants_entries(self, quiet: scenes.Scene) -> None:
        write(quiet)
        live = scenes.signed_in(quiet.user).get("/judgebox/settings/audit-log").content.decode()
        assert "Price revised" not in live
