"""Settings → Billing: who may send invoices says how they are issued and collected, others look."""

import pytest
from django.test import Client

from billing import policies
from merchants.models import AuditEntry
from tests import scenes

PATH = "/judgebox/test/settings/billing"
USUAL = {
    "drafts": "at_once", "draft_hours": "", "net_days": "0", "retry_days": "1, 3, 5, 7", "reminder_days": "3, 10",
    "final_action": "none",
}  # fmt: skip


@pytest.fixture
def client(quiet: scenes.Scene) -> Client:
    return scenes.signed_in(quiet.user)


class TestTheForm:
    def test_shows_what_holds_without_a_word_of_the_merchants(self, client: Client) -> None:
        content = client.get(PATH).content.decode()
        assert 'value="1, 3, 5, 7"' in content
        assert 'value="3, 10"' in content
        assert "Issued, due, the card is tried" in content

    def test_changes_everything_and_says_who_did(self, client: Client, quiet: scenes.Scene) -> None:
        sent = {
            "drafts": "draft", "draft_hours": "48", "net_days": "14", "retry_days": "2 4", "reminder_days": "−3, 0,7",
            "final_action": "pause",
        }  # fmt: skip
        content = client.post(PATH, sent, follow=True).content.decode()
        assert policies.of(quiet.test.id) == policies.Policy(
            net_days=14, holds_drafts=True, draft_hours=48, retry_days=[2, 4], reminder_days=[-3, 0, 7],
            final_action="pause",
        )  # fmt: skip
        assert policies.of(quiet.live.id) == policies.Policy()
        assert 'value="-3, 0, 7"' in content
        assert "<dt>Day 11</dt><dd>Reminder by email</dd>" in content
        assert "<dt>Day 21</dt><dd>Reminder by email, the subscription is paused until it is paid</dd>" in content
        assert f"by {quiet.user.email}" in content
        entry = AuditEntry.objects.get(merchant_id=quiet.test.id, action="billing_policy.changed")
        assert entry.changes["before"]["net_days"] == 0
        assert entry.changes["after"]["reminder_days"] == [-3, 0, 7]

    def test_notes_nothing_where_nothing_was_changed(self, client: Client) -> None:
        client.post(PATH, USUAL)
        assert not AuditEntry.objects.filter(action="billing_policy.changed").exists()

    @pytest.mark.parametrize(
        ("field", "typed", "said"),
        [
            ("net_days", "181", "less than or equal to 180"),
            ("net_days", "", "required"),
            ("draft_hours", "0", "greater than or equal to 1"),
            ("retry_days", "1, x", "Write whole days"),
            ("retry_days", "0", "Days are from 1 to 120"),
            ("retry_days", "3, 1", "later than the one before"),
            ("reminder_days", "1,1", "later than the one before"),
            ("reminder_days", " ".join(map(str, range(13))), "At most 12 days"),
            ("final_action", "sue", "not one of the available choices"),
        ],
    )
    def test_says_beside_the_field_what_cannot_be(self, client: Client, field: str, typed: str, said: str) -> None:
        answer = client.post(PATH, {**USUAL, field: typed})
        assert answer.status_code == 200
        assert said in str(answer.context["form"].errors[field])
        assert not AuditEntry.objects.filter(action="billing_policy.changed").exists()


@pytest.mark.parametrize(("role", "may"), [("admin", True), ("developer", True), ("analyst", False)])
def test_is_for_those_who_may_write_invoices(quiet: scenes.Scene, role: str, may: bool) -> None:
    registered = scenes.registration.Registered(
        quiet.test.organization, quiet.test, quiet.live, quiet.user, quiet.secret
    )
    other = scenes.signed_in(scenes.colleague(registered=registered, role=role))
    assert ("not change it" in other.get(PATH).content.decode()) is not may
    assert other.post(PATH, USUAL).status_code == (302 if may else 403)
