"""The event explorer and the page of one event."""

from django.test import Client

from merchants import ids
from tests import scenes
from tests.dashboard.reads.test_events import meter_event


class TestListing:
    def test_keeps_filters_in_the_query_string(self, scene: scenes.Scene, owner: Client) -> None:
        customer = ids.text("cus", scene.buyers[0].customer.id)
        content = owner.get("/judgebox/test/events", {"customer": customer, "status": "refunded"}).content.decode()
        assert f'value="{customer}" selected' in content
        assert 'value="refunded" selected' in content
        assert content.count('class="row-open"') == 1

    def test_says_which_filter_finds_nothing(self, scene: scenes.Scene, owner: Client) -> None:
        content = owner.get("/judgebox/test/events", {"q": "usg_7zzz", "period": "1h"}).content.decode()
        assert "No events match" in content
        assert "Nothing in the last hour" in content

    def test_refuses_no_query_string(self, scene: scenes.Scene, owner: Client) -> None:
        for query in ("customer=x", "metric=bm_x", "status=x", "period=x", "cursor=older~x~y", "q=%00"):
            assert owner.get(f"/judgebox/test/events?{query}").status_code in {200, 404}


class TestShow:
    def test_opens_as_a_row_in_a_list_and_as_a_page_by_itself(self, scene: scenes.Scene, owner: Client) -> None:
        path = f"/judgebox/test/events/{ids.text('usg', scene.buyers[0].events[0].id)}"
        row = owner.get(path, headers={"HX-Request": "true"}).content
        assert row.strip().startswith(b'<tr class="detail">')
        page = owner.get(path).content
        assert b"<html" in page
        assert b"job-0-1" in page
        assert b"Ledger entry" in page

    def test_shows_a_meter_event(self, scene: scenes.Scene, owner: Client) -> None:
        event_id = meter_event(scene, [scene.metrics[0].id.hex, "4", None, {"metered": True}])
        page = owner.get(f"/judgebox/test/events/{event_id}").content.decode()
        assert "Metered, not priced" in page
        assert "<dt>Type</dt><dd>completion</dd>" in page
        assert "crm-1" in page
        assert event_id in owner.get("/judgebox/test/events").content.decode()
        assert event_id in owner.get("/judgebox/test/events", {"status": "metered"}).content.decode()

    def test_shows_what_is_rated_with_all_other_use(self, scene: scenes.Scene, owner: Client) -> None:
        event = next(each for each in scene.buyers[0].events if each.properties[0][0] == scene.metrics[0].id.hex)
        path = f"/judgebox/test/events/{ids.text('usg', event.id)}"
        assert "after the fact" not in owner.get(path).content.decode()
        since = scenes.lag(scene)
        page = owner.get(path).content.decode()
        assert "With all other use of its period, after the fact" in page
        assert f'as of <time datetime="{since.isoformat()}"' in page

    def test_does_not_exist_in_the_other_mode(self, scene: scenes.Scene, owner: Client) -> None:
        event_id = ids.text("usg", scene.buyers[0].events[0].id)
        assert owner.get(f"/judgebox/events/{event_id}").status_code == 404
