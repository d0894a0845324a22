"""``python -m examples.code_runner``: serves the code runner."""

import os

import uvicorn

from .settings import port

if __name__ == "__main__":
    # One process: a journal has one owner. The programs themselves run in processes of their own.
    uvicorn.run(f"{__package__}.app:application", port=port(os.environ), access_log=False)
