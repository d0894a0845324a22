"""No page knows an id of another merchant, or of the other mode: a matrix made of the URL map.

A page whose URL carries a kind of id that is not named here fails the test.
"""

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern

from billing.models import CreditNote, Plan, UsageDispute
from dashboard.reads import invoices
from dashboard.views import _pages
from entitlements import features, issuing
from entitlements.issuing import NewEntitlement
from entitlements.models import Budget, Entitlement, Feature, Grant
from merchants import ids
from merchants.models import ApiKey, Membership
from tests import factories, scenes
from tests.billing import papers

Ids = dict[str, str]
METHODS = ("get", "post")
OF_BOTH_MODES = {"member_id", "currency"}  # the team is the same in test and live


def ids_of(scene: scenes.Scene) -> Ids:
    """One id of each kind that a merchant has."""
    buyer = scene.buyers[0]
    return {
        "event_id": ids.text("usg", buyer.events[0].id),
        "customer_id": ids.text("cus", buyer.customer.id),
        "wallet_id": ids.text("acc", buyer.wallet.id),
        "alert_id": ids.text("alrt", scenes.watched(scene, buyer).id),
        "payout_id": ids.text("po", scenes.payout(scene).id),
        "withdrawal_id": ids.text("wd", scenes.withdrawal(scene, buyer).id),
        "currency": "USD",
        "lot_id": ids.text("crd", scenes.moved(buyer).id),
        "budget_id": ids.text("bgt", Budget.objects.get(customer_id=buyer.customer.id, scope="agent").id),
        "subscription_id": ids.text("sub", buyer.subscription.id),
        "product_id": ids.text("prod", scene.product.id),
        "metric_id": ids.text("bm", scene.metrics[0].id),
        "coupon_id": ids.text("cpn", factories.coupon(merchant=scene.test, percent_off=5).id),
        "plan_id": ids.text("plan", Plan.objects.get(merchant=scene.test).id),
        "key_id": ids.text("key", ApiKey.objects.get(merchant=scene.test).id),
        "credit_note_id": ids.text("cn", papers.credited(buyer.invoice).id),
        "invoice_id": ids.text("inv", buyer.invoice.id),
        "line_id": invoices.document(buyer.invoice).lines[0].id,
        "member_id": ids.text("mem", Membership.objects.get(user=scene.user).id),
        **entitlement(scene),
        **documents(scene),
    }


def documents(scene: scenes.Scene) -> Ids:
    """A credit note, and a dispute."""
    buyer = scene.buyers[0]
    mine = {"bucket": buyer.customer.bucket, "customer_id": buyer.customer.id, "merchant_id": scene.test.id}
    amounts = ("subtotal", "total_tax", "rounding", "total", "to_receivable", "to_balance", "to_card")
    note = CreditNote.objects.filter(**mine).first() or CreditNote.objects.create(
        **mine,
        **dict.fromkeys(amounts, 0),
        id=ids.new(buyer.customer.bucket),
        subscription_id=buyer.subscription.id,
        invoice_id=buyer.invoice.id,
        number="CN-000001",
        reason="other",
        currency="USD",
        issued_at=scene.now,
    )
    dispute = UsageDispute.objects.filter(**mine).first() or UsageDispute.objects.create(
        **mine,
        id=ids.new(buyer.customer.bucket),
        usage_event_id=buyer.events[0].id,
        amount=1,
        currency="USD",
        status="pending",
        customer_message="Charged twice.",
        created_at=scene.now,
        updated_at=scene.now,
    )
    return {"credit_note_id": ids.text("cn", note.id), "dispute_id": ids.text("disp", dispute.id)}


def entitlement(scene: scenes.Scene) -> Ids:
    """What the first customer is entitled to, and a grant of it."""
    product, metric = scene.product, scene.metrics[0]
    feature = Feature.objects.filter(merchant=scene.test).first() or features.create(
        merchant_id=scene.test.id,
        product_id=product.id,
        key="runs",
        name="Runs",
        type="metered",
        metric_id=metric.id,
        now=scene.now,
    )
    made = Entitlement.objects.filter(feature=feature).first() or issuing.issue(
        merchant_id=scene.test.id,
        customer_id=scene.buyers[0].customer.id,
        new=NewEntitlement(feature_id=feature.id, template={"usagePeriod": {"interval": "P1M"}, "issueAfterReset": 5}),
    )
    grant = Grant.objects.get(entitlement_id=made.id)
    return {"entitlement_id": ids.text("ent", made.id), "grant_id": ids.text("grt", grant.id)}


def routes() -> list[tuple[str, list[str]]]:
    """Every page with an id in its URL, and the kinds of id."""
    found = []
    for pattern in _pages:
        assert isinstance(pattern, URLPattern)
        kinds = list(pattern.pattern.converters)
        if kinds:
            found.append((str(pattern.pattern), kinds))
    return found


def filled(route: str, own: Ids, replaced: Ids) -> str:
    for kind, value in {**own, **replaced}.items():
        route = route.replace(f"<str:{kind}>", value)
    assert "<" not in route, f"name the ids of {route} in ids_of"
    return route


def paths(own: Ids, foreign: Ids) -> Iterator[str]:
    """Each page once for each of its ids, that one replaced by a foreign one."""
    for route, kinds in routes():
        for kind in kinds:
            yield filled(route, own, {kind: foreign[kind]})


@pytest.fixture
def client(scene: scenes.Scene) -> Client:
    return scenes.signed_in(scene.user)


class TestEveryPage:
    def test_shows_its_own_merchants_things(self, scene: scenes.Scene, client: Client) -> None:
        own = ids_of(scene)
        for route, _ in routes():
            path = f"/{scene.slug}/test/{filled(route, own, {})}"
            assert client.get(path, follow=True).status_code == 200, path  # an open invoice has no PDF yet

    def test_does_not_know_those_of_another_organization(self, scene: scenes.Scene, client: Client) -> None:
        other = scenes.busy(now=scenes.NOW, customers=1, name="Stranger", email="stranger@example.com")
        for path in paths(ids_of(scene), ids_of(other)):
            for method in METHODS:
                response = getattr(client, method)(f"/{scene.slug}/test/{path}")
                assert response.status_code in {404, 405}, f"{method} {path}"

    def test_does_not_know_those_of_the_other_mode(self, scene: scenes.Scene, client: Client) -> None:
        own = ids_of(scene)
        for route, kinds in routes():
            for method in () if OF_BOTH_MODES.intersection(kinds) else METHODS:
                response = getattr(client, method)(f"/{scene.slug}/{filled(route, own, {})}")
                assert response.status_code in {404, 405}, f"{method} {route}"

    def test_keeps_what_is_one_customers_from_another(self, scene: scenes.Scene, client: Client) -> None:
        own, neighbour = ids_of(scene), scene.buyers[1]
        theirs = {
            "wallet_id": ids.text("acc", neighbour.wallet.id),
            "subscription_id": ids.text("sub", neighbour.subscription.id),
        }
        for route, kinds in routes():
            for kind in theirs.keys() & kinds:
                path = filled(route, own, {kind: theirs[kind]})
                assert client.get(f"/{scene.slug}/test/{path}").status_code == 404, path
