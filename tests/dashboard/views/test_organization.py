"""Settings with the ids to copy."""

from datetime import datetime
from zoneinfo import ZoneInfo

from merchants import ids
from merchants.models import AuditEntry, Merchant
from tests import scenes


class TestShow:
    def test_prints_the_ids_of_the_organization_and_both_merchants(self, quiet: scenes.Scene) -> None:
        content = scenes.signed_in(quiet.user).get("/judgebox/test/settings").content.decode()
        for key in (quiet.test.organization.id, quiet.test.id, quiet.live.id):
            assert f'data-copy="{ids.text("org", key)}"' in content


class TestLateUsage:
    PATH = "/judgebox/test/settings/late-usage"

    def test_is_refused_from_before_a_day_of_the_organizations(self, quiet: scenes.Scene) -> None:
        client = scenes.signed_in(quiet.user)
        assert "Taken at any age" in client.get("/judgebox/test/settings").content.decode()
        answer = client.post(self.PATH, {"since": "2026-02-01"}, follow=True).content.decode()
        assert "Refused from before" in answer
        merchant = Merchant.objects.get(id=quiet.test.id)
        midnight = datetime(2026, 2, 1, tzinfo=ZoneInfo(quiet.test.organization.timezone))
        assert merchant.usage_since == midnight
        assert Merchant.objects.get(id=quiet.live.id).usage_since is None
        assert 'value="2026-02-01"' in client.get(self.PATH).content.decode()
        entry = AuditEntry.objects.get(merchant_id=quiet.test.id, action="organization.usage_since_set")
        assert entry.changes == {"before": None, "after": midnight.isoformat()}
        client.post(self.PATH, {"since": ""})
        assert Merchant.objects.get(id=quiet.test.id).usage_since is None

    def test_is_not_refused_from_a_day_to_come(self, quiet: scenes.Scene) -> None:
        client = scenes.signed_in(quiet.user)
        assert "must not lie in the future" in client.post(self.PATH, {"since": "2099-01-01"}).content.decode()
        assert "Enter a valid date" in client.post(self.PATH, {"since": "soon"}).content.decode()
        assert Merchant.objects.get(id=quiet.test.id).usage_since is None


class TestAccount:
    def test_says_whether_a_second_factor_is_on(self, quiet: scenes.Scene) -> None:
        content = scenes.signed_in(quiet.user).get("/judgebox/test/account").content.decode()
        assert quiet.user.email in content
        assert ">Off<" in content
