"""Every table of merchants, one import away."""

from merchants.models.events import Event, EventLog, ListedEvent, UnlistedEvent
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

__all__ = [
    "ApiKey",
    "AuditEntry",
    "Event",
    "EventLog",
    "IdempotentAnswer",
    "ListedEvent",
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
