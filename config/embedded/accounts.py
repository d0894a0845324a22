"""The system account that runs the embedded servers when Farthing itself is started by root.

PostgreSQL refuses to run as root, and it is right. The account owns the data and may pass through the
directories above it; it gets no other right.
"""

import logging
import os
import pwd
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

from config.processes import Account, CannotStart, as_account

logger = logging.getLogger(__name__)

ACCOUNT_NAME = "pgserver"

_ACL = "system.posix_acl_access"
_ACL_VERSION = 2
_ACL_USER_OBJ, _ACL_USER, _ACL_GROUP_OBJ, _ACL_MASK, _ACL_OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_ACL_NOBODY = 0xFFFFFFFF
_SEARCH = 0x01


def for_servers() -> Account | None:
    """Return the account to run servers as, made where it is missing; None when the caller's own will do."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        _make()
        entry = pwd.getpwnam(ACCOUNT_NAME)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def let_pass(account: Account, targets: Iterable[Path]) -> None:
    """Let the account reach these directories, and nothing beside the way to them."""
    for target in targets:
        for directory in reversed([target, *target.parents]):
            if not _can_pass(account, directory):
                _grant_search(directory, account.uid)


def _make() -> None:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    try:
        subprocess.run([*command, "--shell", "/usr/sbin/nologin", ACCOUNT_NAME], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotStart(
            f"PostgreSQL does not run as root and the account {ACCOUNT_NAME} could not be made: "
            "start Farthing as another user"
        ) from error


def _can_pass(account: Account, directory: Path) -> bool:
    test = subprocess.run(["test", "-x", directory], check=False, **as_account(account))
    return test.returncode == 0


def _grant_search(directory: Path, uid: int) -> None:
    """Add one entry to the directory's access list: narrower than opening its mode to everyone."""
    entries = _entries(directory)
    entries[_ACL_USER, uid] = entries.get((_ACL_USER, uid), 0) | _SEARCH
    entries[_ACL_MASK, _ACL_NOBODY] = (
        entries.get((_ACL_MASK, _ACL_NOBODY), entries[_ACL_GROUP_OBJ, _ACL_NOBODY]) | _SEARCH
    )
    packed = b"".join(struct.pack("<HHI", tag, rights, who) for (tag, who), rights in sorted(entries.items()))
    try:
        os.setxattr(directory, _ACL, struct.pack("<I", _ACL_VERSION) + packed)
        logger.warning(
            "PostgreSQL does not run as root: its account %s may now pass through %s", ACCOUNT_NAME, directory
        )
    except OSError as error:
        raise CannotStart(
            f"PostgreSQL does not run as root, and its account {ACCOUNT_NAME} may not pass through {directory}: "
            f"allow it (chmod o+x {directory}), or start Farthing as another user"
        ) from error


def _entries(directory: Path) -> dict[tuple[int, int], int]:
    try:
        raw = os.getxattr(directory, _ACL)
    except OSError:
        mode = directory.stat().st_mode
        owner, group, others = mode >> 6 & 7, mode >> 3 & 7, mode & 7
        return {
            (_ACL_USER_OBJ, _ACL_NOBODY): owner,
            (_ACL_GROUP_OBJ, _ACL_NOBODY): group,
            (_ACL_OTHER, _ACL_NOBODY): others,
        }
    return {(tag, who): rights for tag, rights, who in struct.iter_unpack("<HHI", raw[4:])}
