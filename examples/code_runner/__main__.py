"""``python -m examples.code_runner``: serves the code runner with Granian."""

import os

from granian import Granian
from granian.constants import Interfaces

from .settings import port

if __name__ == "__main__":
    # One process: a journal has one owner. The programs themselves run in processes of their own.
    Granian(f"{__package__}.app:application", port=port(os.environ), interface=Interfaces.ASGI, workers=1).serve()
