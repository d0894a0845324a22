"""Every table of merchants, one import away."""

from merchants.models.events import Event, EventLog, ListedEvent, UnlistedEvent
from merchants.models.mails import Mail
from merchants.models.organizations import (
    ApiKey,
    AuditEntry,
    IdempotentAnswer,
    Membership,
    Merchant,
    Mode,
    Organization,
    Product,
    Role,
    User,
    UserManager,
)
from merchants.models.webhooks import Delivery, DeliveryAttempt, Endpoint

__all__ = [
    "ApiKey",
    "AuditEntry",
    "Delivery",
    "DeliveryAttempt",
    "Endpoint",
    "Event",
    "EventLog",
    "IdempotentAnswer",
    "ListedEvent",
    "Mail",
    "Membership",
    "Merchant",
    "Mode",
    "Organization",
    "Product",
    "Role",
    "UnlistedEvent",
    "User",
    "UserManager",
]
