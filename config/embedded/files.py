"""Where the embedded servers' files lie, and who may touch them."""

import hashlib
import os
import stat
import tempfile
from importlib.util import find_spec
from pathlib import Path

from config.processes import Account, CannotStart

SOCKET_PATH_BYTES_MAX = 103  # 107 on Linux, 103 on macOS, both less the closing zero


def socket_directory(directory: Path) -> Path:
    """Return ``<directory>/run``, or a short stand-in for it where a socket's path would be too long."""
    directory = directory.absolute()
    near = directory / "run"
    if len(os.fsencode(near / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES_MAX:
        return near
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"farthing-{name}"


def make_directory(path: Path, mode: int, account: Account | None) -> None:
    """Make a directory of this owner and mode; refuse one that somebody else has put there."""
    uid, gid = (account.uid, account.gid) if account else (os.geteuid(), os.getegid())
    path.mkdir(mode=mode, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {uid, os.geteuid()}:
        raise CannotStart(f"{path} belongs to user {found.st_uid}: move it away, or start Farthing as that user")
    os.chown(path, uid, gid)
    path.chmod(mode)


def write(path: Path, content: str, account: Account | None) -> None:
    """Write a file that only this account may read."""
    path.write_text(content)
    path.chmod(0o600)
    if account:
        os.chown(path, account.uid, account.gid)


def package(name: str) -> Path:
    """Return the directory of an installed package, without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise CannotStart(f"The package {name} is not installed; run make to install it")
    return Path(spec.origin).parent


def plain_environment() -> dict[str, str]:
    """Return an environment in which no PG… variable of the caller's changes what the servers do."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C", "TZ": "UTC"}


def last_line(said: str, word: str) -> str:
    """Return the last line with this word in it, else the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if word in line), lines[-1] if lines else "it said nothing")
