"""Files to download, as pages hand them out: never shown inline, never guessed at."""

from django.http import HttpResponse

MEDIA_TYPES = {"pdf": "application/pdf", "xml": "application/xml"}


def attached(content: bytes, name: str) -> HttpResponse:
    """Answer with a file to be saved; its type is its name's ending, and the name is plain ASCII."""
    answer = HttpResponse(content, content_type=MEDIA_TYPES[name.rpartition(".")[2]])
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer
