"""One of every hosted page, for tests that look at them."""

from datetime import timedelta

from django.utils import timezone

from billing.models import PaymentSession
from billing.payments import authorizations, links, one_off, tokens
from billing.payments.authorizations import NewAuthorization
from billing.payments.links import NewLink
from billing.payments.one_off import LineItem, NewPayment
from merchants import audit
from merchants.models import Merchant
from tests import scenes
from tests.billing.payments import sellers

NANOS = sellers.NANOS


def payment(merchant: Merchant, **columns: object) -> PaymentSession:
    """The session of a one-off payment with two lines."""
    lines = (
        LineItem(description="Report on the year", amount=20 * NANOS),
        LineItem(description="Hour of advice", amount=11 * NANOS, quantity=2),
    )
    new = NewPayment(amount=42 * NANOS, currency="USD", reference="Order 1742", line_items=lines)
    asked = one_off.ask(merchant_id=merchant.id, new=new, key=None)
    assert asked.session is not None
    if columns:
        PaymentSession.objects.filter(id=asked.session.id).update(**columns)
    return asked.session


def pages(scene: scenes.Scene) -> dict[str, str]:
    """The paths of one of every page, by what it shows."""
    now, merchant = timezone.now(), scene.test
    waits, declined, confirm, paid = (payment(merchant) for _ in range(4))
    sellers.pay(declined, sellers.DECLINED)
    sellers.pay(confirm, sellers.CONFIRMS)
    sellers.pay(paid)
    expired = payment(merchant, expires_at=now - timedelta(seconds=1))
    content = "Download: https://files.example/report.pdf\nThe password is 1742."
    new = NewLink(
        amount=9 * NANOS, currency="USD", description="Report on the year", resource_content=content, max_uses=2
    )
    link = links.create(merchant_id=merchant.id, new=new, actor=audit.SYSTEM, now=now)
    bought = one_off.begin_by_link(link=link, payer_name="Grace Hopper", payer_email="grace@example.com", now=now)
    sellers.pay(bought)
    off = links.create(merchant_id=merchant.id, new=new, actor=audit.SYSTEM, now=now)
    links.change(merchant_id=merchant.id, link_id=off.id, changes={"status": "disabled"}, actor=audit.SYSTEM, now=now)
    invited, _ = authorizations.create(
        merchant_id=merchant.id,
        new=NewAuthorization(email="ada@northwind.example", plan_id=scene.plan.id, minimum_balance=50 * NANOS),
        actor=audit.SYSTEM,
        now=now,
    )
    gone, _ = authorizations.create(
        merchant_id=merchant.id,
        new=NewAuthorization(email="bob@northwind.example", plan_id=scene.plan.id),
        actor=audit.SYSTEM,
        now=now,
    )
    authorizations.revoke(merchant_id=merchant.id, authorization_id=gone.id, actor=audit.SYSTEM, now=now)
    return {
        "waits": sellers.path(waits),
        "declined": sellers.path(declined),
        "confirm": sellers.path(confirm),
        "paid": sellers.path(paid),
        "expired": sellers.path(expired),
        "released": sellers.path(bought),
        "link": f"/portal/link/{tokens.make(tokens.LINK, merchant.id, link.id)}",
        "link-off": f"/portal/link/{tokens.make(tokens.LINK, merchant.id, off.id)}",
        "authorize": f"/portal/authorize/{tokens.make(tokens.AUTHORIZATION, merchant.id, invited.id)}",
        "authorize-gone": f"/portal/authorize/{tokens.make(tokens.AUTHORIZATION, merchant.id, gone.id)}",
    }
