"""Voiding and amending a usage event from its page."""

from decimal import Decimal

import pytest
from django.test import Client

from charging import amendments, execution
from charging.amendments import Changes
from charging.commands import Property
from merchants import ids
from merchants.models import Membership, Role
from metering.models import Correction
from tests import scenes
from tests.dashboard.reads.test_events import meter_event

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def path(scene: scenes.Scene) -> str:
    return f"/judgebox/test/events/{ids.text('usg', scene.buyers[0].events[0].id)}"


@pytest.fixture(autouse=True)
def _hang_up():
    yield
    execution.hang_up()


class TestVoid:
    def test_asks_for_a_reason_and_takes_the_event_back(self, owner: Client, path: str) -> None:
        assert f'href="{path}/void"' in owner.get(path).content.decode()
        assert "cannot be undone" in owner.get(f"{path}/void").content.decode()
        assert "This field is required" in owner.post(f"{path}/void", {"reason": ""}).content.decode()
        assert not Correction.objects.exists()
        answer = owner.post(f"{path}/void", {"reason": "Sent <twice>"}, follow=True).content.decode()
        assert "The event is void." in answer
        assert "Sent &lt;twice&gt;" in answer
        assert f'href="{path}/void"' not in answer
        listed = owner.get("/judgebox/test/events", {"status": "voided"}).content.decode()
        assert path.rpartition("/")[2] in listed
        assert path.rpartition("/")[2] not in owner.get("/judgebox/test/events", {"status": "charged"}).content.decode()

    def test_says_why_it_cannot(self, owner: Client, path: str) -> None:
        owner.post(f"{path}/void", {"reason": "Sent twice"})
        assert "was voided" in owner.post(f"{path}/amend", {"quantity_0": "1", "reason": "x"}).content.decode()

    def test_is_not_for_those_who_only_read(self, scene: scenes.Scene, owner: Client, path: str) -> None:
        Membership.objects.filter(user=scene.user).update(role=Role.ANALYST)
        assert owner.post(f"{path}/void", {"reason": "x"}).status_code == 403
        assert f'href="{path}/void"' not in owner.get(path).content.decode()


class TestAmend:
    def test_shows_what_holds_and_charges_the_difference(self, owner: Client, path: str) -> None:
        form = owner.get(f"{path}/amend").content.decode()
        assert 'name="quantity_0"' in form
        answer = owner.post(f"{path}/amend", {"quantity_0": "77", "reason": "Miscounted"}, follow=True)
        content = answer.content.decode()
        assert "the difference is charged" in content
        assert "<dt>Quantity since</dt><dd>77" in content
        assert Correction.objects.get().properties[0][1] == "77"
        assert path.rpartition("/")[2] in owner.get("/judgebox/test/events", {"status": "amended"}).content.decode()

    def test_amends_what_holds_since_the_last_time(self, scene: scenes.Scene, owner: Client, path: str) -> None:
        event = scene.buyers[0].events[0]
        metric_id = bytes.fromhex(event.properties[0][0])
        twice = Changes(properties=[Property(metric_id, Decimal(5)), Property(metric_id, Decimal(6))])
        amendments.amend(merchant_id=event.merchant_id, event_id=event.id, changes=twice, reason="Two of them")
        owner.post(f"{path}/amend", {"quantity_0": "5", "quantity_1": "8", "reason": "Miscounted"})
        assert [line[1] for line in Correction.objects.latest("number").properties] == ["5", "8"]

    def test_names_the_field_at_fault(self, owner: Client, path: str) -> None:
        content = owner.post(f"{path}/amend", {"quantity_0": "many", "reason": "x"}).content.decode()
        assert "plain number without sign" in content
        assert not Correction.objects.exists()

    def test_is_not_for_meter_events(self, scene: scenes.Scene, owner: Client) -> None:
        event_id = meter_event(scene, [scene.metrics[0].id.hex, "4", None, {"metered": True}])
        assert owner.get(f"/judgebox/test/events/{event_id}/amend").status_code == 404
        assert owner.get(f"/judgebox/test/events/{event_id}/void").status_code == 200
