"""The sites that a merchant trusts: where customers are sent to from hosted pages, and who may show those in a frame.

A redirect comes from a merchant's server, under its key, never from a query string; that it must name a listed site
keeps a stolen key from sending payers elsewhere. While nothing is listed, test mode sends them anywhere over https and
to this very machine, and live mode nowhere. Frames are only ever allowed to who is listed.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from merchants import audit
from merchants.audit import Actor
from merchants.errors import ValidationFailed
from merchants.models import Merchant, Mode

ORIGINS_MAX = 20
LOCAL_HOSTS = ("localhost", "127.0.0.1")

_read_origin = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]{0,180}[a-z0-9])?)(?P<port>:[0-9]{1,5})?"
).fullmatch
_origin_of = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?=[/?#]|\Z)").match
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


def parse(value: object, field: str, *, mode: str) -> str:
    """Return an origin as browsers write it; raises ValidationFailed for anything else.

    http is only for this very machine, and only in test mode.
    """
    match = _read_origin(value.strip().lower().removesuffix("/")) if type(value) is str else None
    if match is None or (match["scheme"] == "http" and not _is_local(match["host"], mode)):
        message = f"{field} must be an https origin without a path, like https://shop.example."
        raise ValidationFailed(message, field=field, code="INVALID_ORIGIN")
    port = match["port"] or ""
    return f"{match['scheme']}://{match['host']}{'' if port == _DEFAULT_PORTS[match['scheme']] else port}"


def allow(*, merchant_id: UUID, origins: Sequence[str], actor: Actor, now: datetime) -> list[str]:
    """Say which sites a merchant trusts, all of them at once.

    Raises:
        ValidationFailed: one of them is no origin, or there are too many.
    """
    with transaction.atomic():
        merchant = Merchant.objects.select_for_update(no_key=True).get(id=merchant_id)
        wanted = sorted({parse(origin, "allowedOrigins", mode=merchant.mode) for origin in origins})
        if len(wanted) > ORIGINS_MAX:
            message = f"There may be at most {ORIGINS_MAX} sites."
            raise ValidationFailed(message, field="allowedOrigins", code="TOO_MANY_ORIGINS")
        before, merchant.allowed_origins = merchant.allowed_origins, wanted
        if wanted != before:
            merchant.save(update_fields=["allowed_origins"])
            changes = {"before": ", ".join(before), "after": ", ".join(wanted)}
            audit.append(
                merchant_id=merchant_id, actor=actor, action="organization.origins_set", changes=changes, now=now
            )
        return wanted


def check_redirects(merchant_id: UUID, urls: Mapping[str, str | None]) -> None:
    """Refuse addresses of sites that the merchant does not trust.

    Args:
        urls: absolute addresses, by the names of their fields; None or empty where none is given.

    Raises:
        ValidationFailed: it names the field.
    """
    given = {field: url for field, url in urls.items() if url}
    if not given:
        return
    merchant = Merchant.objects.only("mode", "allowed_origins").get(id=merchant_id)
    for field, url in given.items():
        if not _is_trusted(url, merchant):
            message = f"{field} is not on a site that you allow; list it in the settings."
            raise ValidationFailed(message, field=field, code="REDIRECT_NOT_ALLOWED")


def _is_trusted(url: str, merchant: Merchant) -> bool:
    match = _origin_of(url)
    if match is None:
        return False
    try:
        origin = parse(match[0], "url", mode=merchant.mode)
    except ValidationFailed:
        return False
    if not merchant.allowed_origins:
        return merchant.mode == Mode.TEST.value
    return origin in merchant.allowed_origins or _is_this_machine(origin, merchant)


def _is_this_machine(origin: str, merchant: Merchant) -> bool:
    match = _read_origin(origin)
    return match is not None and _is_local(match["host"], merchant.mode)


def _is_local(host: str, mode: str) -> bool:
    return mode == Mode.TEST.value and host in LOCAL_HOSTS
