"""Enters what an export says: plans, and customers with everything of theirs, each whole or not at all.

What was entered once is known by its name in the other system, and not entered again. A dry run does the same and takes
it all back, so what it reports is what would happen.
"""

import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction

from billing import catalogue, credits, money, plans, subscriptions, wallets
from billing.credits import NewCredit
from billing.imports import shapes
from billing.imports.shapes import Export
from billing.models import ImportedObject
from billing.plans import NewPlan
from billing.price_terms import NewPrice
from billing.subscriptions import NewSubscription
from customers import books, changes, registry
from customers.models import Customer
from customers.registry import NewCustomer
from merchants import idempotency, products
from merchants.audit import Actor
from merchants.errors import ServiceError
from metering import metrics

ACTOR = Actor("import")
Kind = ImportedObject.Kind


class Line(NamedTuple):
    """What became of one thing: created, updated, same or unsupported, and what there is to say about it."""

    kind: str
    external_id: str
    outcome: str
    detail: str = ""


class _Refused(Exception):
    """A customer could not be entered whole."""

    def __init__(self, kind: str, external_id: str, reason: str) -> None:
        super().__init__(reason)
        self.line = Line(kind, external_id, "unsupported", reason)


def run(*, merchant_id: uuid.UUID, export: Export, now: datetime, is_dry: bool) -> list[Line]:
    """Enter an export, or find out what that would do; returns a line for each thing in it."""
    importer = _Importer(merchant_id, export, now)
    if not is_dry:
        return importer.run()
    with transaction.atomic():
        lines = importer.run()
        transaction.set_rollback(True)
    return lines


class _Importer:
    """One run: where it writes, and what it has said."""

    def __init__(self, merchant_id: uuid.UUID, export: Export, now: datetime) -> None:
        self.merchant_id, self.export, self.now = merchant_id, export, now
        self.lines = [Line(each.kind, each.external_id, "unsupported", each.reason) for each in export.skipped]

    def run(self) -> list[Line]:
        for plan in self.export.plans:
            self._whole("plan", plan.external_id, partial(self._plan, plan))
        for customer in self.export.customers:
            self._whole("customer", customer.external_id, partial(self._customer, customer))
        return self.lines

    def _whole(self, kind: str, external_id: str, enter: Callable[[], list[Line]]) -> None:
        """Enter one thing with all that belongs to it, or nothing of it."""
        try:
            with transaction.atomic():
                self.lines += enter()
        except _Refused as refused:
            self.lines.append(refused.line)
            if refused.line.kind != kind:
                self.lines.append(Line(kind, external_id, "unsupported", "Something of theirs is: see there."))
        except ServiceError as refusal:
            self.lines.append(Line(kind, external_id, "unsupported", refusal.message))

    # --- what was entered before ---------------------------------------------------------------------------

    def _known(self, kind: str, external_id: str) -> ImportedObject | None:
        return ImportedObject.objects.filter(
            merchant_id=self.merchant_id, source=self.export.source, kind=kind, external_id=external_id
        ).first()

    def _note(self, kind: str, external_id: str, object_id: uuid.UUID, said: Any) -> None:
        ImportedObject.objects.create(
            merchant_id=self.merchant_id,
            source=self.export.source,
            kind=kind,
            external_id=external_id,
            object_id=object_id,
            fingerprint=idempotency.fingerprint(said),
            created_at=self.now,
        )

    def _again(self, known: ImportedObject, said: Any, what_to_do: str) -> Line:
        """Tell whether something still says what it said when it was entered."""
        if bytes(known.fingerprint) == idempotency.fingerprint(said):
            return Line(known.kind, known.external_id, "same")
        return Line(known.kind, known.external_id, "unsupported", f"It has changed there since. {what_to_do}")

    # --- plans ---------------------------------------------------------------------------------------------

    def _plan(self, plan: shapes.Plan) -> list[Line]:
        said = asdict(plan)
        known = self._known(Kind.PLAN, plan.external_id)
        if known is not None:
            return [self._again(known, said, "Change the plan here.")]
        product = products.create(
            merchant_id=self.merchant_id,
            name=plan.name,
            description=f"Taken over from {self.export.source}: {plan.external_id}"[:255],
            now=self.now,
        )
        prices = [self._price(price, product.id) for price in plan.prices]
        new = NewPlan(
            name=plan.name,
            currency=plan.currency,
            product_id=product.id,
            prices=prices,
            billing_cadence=plan.cadence,
        )
        version = plans.create(merchant_id=self.merchant_id, new=new, actor=ACTOR, now=self.now)
        self._note(Kind.PLAN, plan.external_id, version.plan_id, said)
        return [Line("plan", plan.external_id, "created", f"{plan.name}: {len(prices)} prices")]

    def _price(self, price: shapes.Price, product_id: uuid.UUID) -> uuid.UUID:
        named: dict[str, Any] = {
            "merchant_id": self.merchant_id,
            "product_id": product_id,
            "name": price.name,
            "now": self.now,
        }
        of: dict[str, Any] = {}
        if price.aggregation:
            metric = metrics.create(
                **named,
                description=price.external_id,
                unit=price.unit,
                aggregation=price.aggregation,
                event_type=price.event_type,
                value_property=price.value_property,
            )
            of["metric_id"] = metric.id
        else:
            of["fee_id"] = catalogue.create_fee(**named, description=price.external_id).id
            of["billing_cadence"] = price.cadence
        new = NewPrice(
            display_name=price.name,
            payment_term=price.term,
            model=price.model,
            properties=dict(price.properties),
            **of,
        )
        made = catalogue.create_price(merchant_id=self.merchant_id, new=new, actor=ACTOR, now=self.now)
        return made.price_id

    # --- customers -----------------------------------------------------------------------------------------

    def _customer(self, who: shapes.Customer) -> list[Line]:
        known = self._known(Kind.CUSTOMER, who.external_id)
        if known is None:
            customer, line = self._enter(who)
        else:
            customer = registry.find(merchant_id=self.merchant_id, customer_id=known.object_id)
            line = self._compare(customer, who)
        lines = [line]
        for subscription in who.subscriptions:
            lines.append(self._part(Kind.SUBSCRIPTION, subscription, partial(self._subscribe, customer, subscription)))
        for credit in who.credits:
            lines.append(self._part(Kind.CREDIT, credit, partial(self._give, customer, credit)))
        return lines

    def _enter(self, who: shapes.Customer) -> tuple[Customer, Line]:
        new = NewCustomer(
            name=who.name,
            email=who.email,
            phone=who.phone,
            address=dict(who.address),
            tax_id=who.tax_id,
            external_id=who.external_id,
        )
        customer, is_new = registry.enter(merchant_id=self.merchant_id, new=new, now=self.now)
        self._note(Kind.CUSTOMER, who.external_id, customer.id, who.email)
        if is_new:
            return customer, Line("customer", who.external_id, "created", who.email)
        return customer, Line("customer", who.external_id, "same", f"{who.email} was a customer already")

    def _compare(self, customer: Customer, who: shapes.Customer) -> Line:
        other = [name for name in ("name", "email", "phone") if getattr(customer, name) != getattr(who, name)]
        if customer.address != dict(who.address):
            other.append("address")
        words = f"Different there: {', '.join(other)}; change it here." if other else ""
        if customer.tax_id == who.tax_id:
            return Line("customer", who.external_id, "unsupported" if other else "same", words)
        changes.change(
            merchant_id=self.merchant_id, customer_id=customer.id, changes={"tax_id": who.tax_id}, actor=ACTOR
        )
        return Line("customer", who.external_id, "updated", f"tax id. {words}".strip())

    def _part(self, kind: Kind, part: Any, enter: Callable[[], tuple[uuid.UUID, str]]) -> Line:
        known = self._known(kind, part.external_id)
        # Where a subscription begins here moves on there with every period.
        said = {name: value for name, value in asdict(part).items() if name != "starts_at"}
        if known is not None:
            return self._again(known, said, "Change it here.")
        try:
            object_id, detail = enter()
        except ServiceError as refusal:
            raise _Refused(kind.value, part.external_id, refusal.message) from refusal
        self._note(kind, part.external_id, object_id, said)
        return Line(kind.value, part.external_id, "created", detail)

    def _subscribe(self, customer: Customer, wanted: shapes.Subscription) -> tuple[uuid.UUID, str]:
        plan = self._known(Kind.PLAN, wanted.plan)
        if plan is None:
            raise _Refused("subscription", wanted.external_id, f"Its plan {wanted.plan} was not taken over.")
        starts_at = max(self.now, wanted.starts_at or self.now)
        new = NewSubscription(name=wanted.name, plan_id=plan.object_id, started_at=starts_at)
        made = subscriptions.create(merchant_id=self.merchant_id, customer=customer.id, new=new, now=self.now)
        if not made.is_new:
            raise _Refused("subscription", wanted.external_id, "The customer has a subscription to this plan already.")
        status = made.subscription.status
        return made.subscription.id, f"{status}, billed here from {starts_at:%Y-%m-%d %H:%M} UTC"

    def _give(self, customer: Customer, wanted: shapes.Credit) -> tuple[uuid.UUID, str]:
        books.lock(customer.bucket, customer.id)
        pot, _ = wallets.ensure_pots(
            bucket=customer.bucket, customer_id=customer.id, currency=wanted.currency, now=self.now
        )
        new = NewCredit(amount=wanted.amount, name=wanted.name, expires_at=wanted.expires_at)
        lot, _ = credits.grant(
            merchant_id=self.merchant_id,
            wallet_id=pot.id,
            new=new,
            key=f"{self.export.source}:{wanted.external_id}",
            actor=ACTOR,
        )
        return lot.id, money.with_currency(wanted.amount, wanted.currency)
