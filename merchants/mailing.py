"""E-mail: written down in the transaction of what it tells of, sent afterwards, once per key.

An e-mail is rendered when it is queued, and sent as it was rendered. A server that took one and was not heard may get
it again, with the same Message-ID.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from email.utils import formataddr, parseaddr
from smtplib import SMTPException
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.template.loader import render_to_string

from merchants import ids, letters
from merchants.models import Mail, Merchant, Mode

MAIL_PREFIX = "mail"
CLAIMED_AT_ONCE = 20
#: Longer than sending all that is claimed at once; who dies with a claim loses it then.
CLAIM_LASTS = timedelta(seconds=settings.EMAIL_TIMEOUT * (CLAIMED_AT_ONCE + 1))
#: How long after each failed attempt the next one is made; after the last there is none.
PAUSES = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=12),
)
ERROR_LENGTH_MAX = 200
SUBJECT_LENGTH_MAX = 255

logger = logging.getLogger(__name__)


def queue(
    *,
    merchant_id: UUID,
    template: str,
    to: str,
    context: Mapping[str, str],
    now: datetime,
    key: str,
    unsubscribe_url: str | None = None,
) -> None:
    """Write an e-mail to be sent soon; call it inside the transaction of what it tells of.

    Args:
        template: the name of a kind in ``merchants/letters.py``.
        context: what fills its wording, as text; ``merchant`` is the organization's name.
        key: under one key a merchant sends one e-mail; a second one is dropped.
        unsubscribe_url: where a click, or a mail client's own button, stops e-mails of this kind.

    Raises:
        letters.UnknownLetter, KeyError: it is called wrongly.
    """
    kind = letters.named(template)
    merchant = Merchant.objects.select_related("organization").get(id=merchant_id)
    name = merchant.organization.name
    letter = letters.write(kind, {**context, "merchant": name})
    is_test = merchant.mode == Mode.TEST
    shown = {"letter": letter, "merchant": name, "is_test": is_test, "unsubscribe_url": unsubscribe_url}
    subject = f"[Test] {letter.subject}" if is_test else letter.subject
    mail = Mail(
        merchant_id=merchant_id,
        id=ids.new(),
        key=key,
        template=template,
        recipient=to,
        sender=formataddr((name, parseaddr(settings.DEFAULT_FROM_EMAIL)[1])),
        subject=subject[:SUBJECT_LENGTH_MAX],
        text=render_to_string("merchants/mail/letter.txt", shown).strip() + "\n",
        html=render_to_string("merchants/mail/letter.html", shown),
        headers=_unsubscribe_headers(unsubscribe_url),
        next_at=Now(),  # whatever the customer's own clock says: that is for tests, and nobody waits for it
        created_at=now,
    )
    Mail.objects.bulk_create([mail], ignore_conflicts=True)


def _unsubscribe_headers(url: str | None) -> dict[str, str]:
    # RFC 8058: the client's own button posts to the address, without asking anything.
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} if url else {}


# --- sending ---------------------------------------------------------------------------------------------


def send_due(*, clock: Callable[[], datetime], is_time_up: Callable[[], bool]) -> int:
    """Send what is due, outside any transaction; return how many e-mails were tried."""
    done = 0
    while not is_time_up() and (claimed := _claim(clock())):
        for mail in claimed:
            _mark(mail, _send(mail), clock())
        done += len(claimed)
    return done


def _claim(now: datetime) -> list[Mail]:
    with transaction.atomic():
        due = Mail.objects.filter(state=Mail.State.PENDING, next_at__lte=now).order_by("next_at")
        claimed = list(due.select_for_update(skip_locked=True)[:CLAIMED_AT_ONCE])
        token = ids.new()
        Mail.objects.filter(pk__in=[mail.pk for mail in claimed]).update(
            attempts=F("attempts") + 1, next_at=now + CLAIM_LASTS, lease_token=token
        )
        for mail in claimed:
            mail.attempts += 1
            mail.lease_token = token
    return claimed


def _send(mail: Mail) -> str:
    """Hand an e-mail over; return what went wrong, or nothing."""
    message = EmailMultiAlternatives(
        subject=mail.subject,
        body=mail.text,
        from_email=mail.sender,
        to=[mail.recipient],
        headers={**mail.headers, "Message-ID": _message_id(mail), "Auto-Submitted": "auto-generated"},
        connection=get_connection(),
    )
    message.attach_alternative(mail.html, "text/html")
    try:
        message.send()
    except (SMTPException, OSError, ValueError) as error:
        logger.warning("an e-mail could not be sent", extra={"mail": ids.text(MAIL_PREFIX, mail.id)}, exc_info=True)
        return f"{type(error).__name__}: {error}"[:ERROR_LENGTH_MAX]
    return ""


def _message_id(mail: Mail) -> str:
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return f"<{ids.text(MAIL_PREFIX, mail.id)}@{domain}>"


def _mark(mail: Mail, error: str, now: datetime) -> None:
    """Write down what came of an attempt, unless somebody else has taken it over since."""
    mine = Mail.objects.filter(pk=mail.pk, lease_token=mail.lease_token, state=Mail.State.PENDING)
    if not error:
        mine.update(state=Mail.State.SENT, sent_at=now, last_error="")
    elif mail.attempts > len(PAUSES):
        mine.update(state=Mail.State.FAILED, last_error=error)
    else:
        mine.update(next_at=now + PAUSES[mail.attempts - 1], last_error=error)
