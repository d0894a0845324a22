"""What a merchant decides about how usage is taken."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from merchants import audit
from merchants.audit import Actor
from merchants.errors import ValidationFailed
from merchants.models import Merchant


def refuse_usage_before(*, merchant_id: UUID, since: datetime | None, actor: Actor, now: datetime) -> None:
    """Have usage that happened before an instant refused, and none of it corrected; None takes usage of any age.

    Raises:
        ValidationFailed: the instant lies in the future: then nothing could be recorded.
    """
    if since is not None and since > now:
        message = "The date must not lie in the future: no usage could be recorded until then."
        raise ValidationFailed(message, field="usageSince", code="DATE_IN_FUTURE")
    with transaction.atomic():
        merchant = Merchant.objects.select_for_update(no_key=True).get(id=merchant_id)
        before, merchant.usage_since = merchant.usage_since, since
        if before == since:
            return
        merchant.save(update_fields=["usage_since"])
        changes = {"before": before and before.isoformat(), "after": since and since.isoformat()}
        audit.append(
            merchant_id=merchant_id, actor=actor, action="organization.usage_since_set", changes=changes, now=now
        )
