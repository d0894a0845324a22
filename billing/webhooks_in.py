"""Where payment providers tell us what happened: ``POST /webhooks/in/{provider}/{merchant}``.

A message is checked and stored, and answered at once; what it says is acted upon afterwards (``billing.tasks``).
"""

import logging

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.payments import news
from merchants import ids

logger = logging.getLogger(__name__)


@csrf_exempt
@require_POST
def receive(request: HttpRequest, provider: str, merchant: str) -> HttpResponse:
    """Take one message. Whatever is wrong with it is a 400: who sends rubbish learns nothing from the answer."""
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        if not 0 < length <= settings.BODY_BYTES_MAX:
            return _refused("The body is empty, of no stated length, or too large.")
        is_new = news.receive(
            merchant_id=ids.parse("org", merchant),
            provider=provider,
            raw=request.body,
            headers=request.headers,
            now=timezone.now(),
        )
    except Exception as error:
        # Providers' libraries raise nearly anything for a message that is not theirs.
        logger.info("refused a message from %s: %r", provider, error)
        return _refused("The message is not a provider's.")
    return JsonResponse({"received": True, "isNew": is_new})


def _refused(message: str) -> HttpResponse:
    return JsonResponse({"error": "validation_error", "code": "INVALID_WEBHOOK", "message": message}, status=400)


urlpatterns = [path("<str:provider>/<str:merchant>", receive)]
