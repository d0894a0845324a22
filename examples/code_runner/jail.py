"""The inside of the sandbox: gives up every right, then becomes the submitted program.

Run by ``sandbox.py`` as ``python -I -S jail.py LIMITS`` in a fresh directory that holds the files ``program``,
``stdin``, ``stdout`` and ``stderr``; it answers with one line of JSON on its own standard output, which the program
never sees. Three processes, each the parent of the next:

    jail     enters new namespaces (mounts, processes, network, IPC, host name) and waits
    init     process 1 of the new process namespace: when it dies, all in there die; it times the run
    program  no rights, a uid of its own, resource limits, an empty root directory, no network

Only the standard library, no imports from the example: this file runs outside its virtual environment.
"""

# pathlib would double the time that every run takes to start.
# ruff: noqa: PTH102, PTH103, PTH104, PTH109, PTH112, PTH114, PTH115, PTH118, PTH120, PTH123, PTH211

import ctypes
import json
import os
import resource
import signal
import sys
import time
from types import FrameType
from typing import Any, NoReturn

# From linux/sched.h, sys/mount.h and linux/prctl.h.
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
NAMESPACES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38

PROGRAM_BYTES_MAX = 1 << 20
WRITABLE_BYTES_MAX = 16 << 20  # all files of a run together; they live in memory
FILES_MAX = 1024  # files and directories of a run, ours included
OPEN_FILES_MAX = 32
STACK_BYTES_MAX = 8 << 20
# Every run has its own uid, so its process limit is its own; far above the ranges that distributions hand out.
UID_FIRST = 1_900_000_000
NOBODY = 65534

PYTHON = os.path.realpath(sys.executable)  # resolved here: in the empty root there is no virtual environment
libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    arguments = [None if word is None else word.encode() for word in (source, target, kind, options)]
    _checked(libc.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[3]), f"mount {target}")


def _die_with_parent() -> None:
    _checked(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def enter_namespaces() -> None:
    """This will cut the process off from the host's processes, mounts and networks; raises OSError if not allowed."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _checked(libc.unshare(NAMESPACES), "unshare")
        return
    _checked(libc.unshare(NAMESPACES | CLONE_NEWUSER), "unshare")
    # Until exec the process has all rights inside its own user namespace, and none outside.
    for name, line in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def visible_paths() -> list[str]:
    """This will list what of the host the program may read: the interpreter and the libraries, nothing else."""
    libraries = os.path.join(sys.base_prefix, "lib")
    system = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/urandom"]
    return [path for path in dict.fromkeys([PYTHON, libraries, *system]) if os.path.lexists(path)]


def _show(path: str, root: str) -> None:
    target = root + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        open(target, "x").close()
    _mount(path, target, None, MS_BIND | MS_REC)
    if not path.startswith("/dev/"):
        # A user namespace may add restrictions to a mount but must repeat those it already has.
        kept = os.statvfs(path).f_flag & (os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME)
        _mount(path, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | kept)


def enter_empty_root(program: bytes) -> None:
    """This will replace the file system by a small one in memory, with the interpreter read-only and /work to write."""
    top = os.getcwd()
    root = top + "/root"
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    options = f"size={WRITABLE_BYTES_MAX},nr_inodes={FILES_MAX},mode=755"
    _mount("tmpfs", top, "tmpfs", MS_NOSUID | MS_NODEV, options)
    os.umask(0o022)
    os.mkdir(root)
    for path in visible_paths():
        _show(path, root)
    os.mkdir(root + "/work")
    with open(root + "/work/main.py", "xb") as file:
        file.write(program)
    os.chdir(top)
    _checked(libc.pivot_root(b".", b"."), "pivot_root")
    _checked(libc.umount2(b".", MNT_DETACH), "umount")
    # The host's files are gone by now; the chroot is there because the kernel grants no new namespaces inside of one.
    os.chroot("/root")
    os.chdir("/work")


def _limit(limits: dict[str, Any]) -> None:
    # In a user namespace the jail and init are counted with the program; beside root, the program stands alone.
    processes = limits["processes"] + (0 if os.geteuid() == 0 else 2)
    for kind, soft, hard in (
        (resource.RLIMIT_AS, limits["memory_bytes"], limits["memory_bytes"]),
        (resource.RLIMIT_STACK, STACK_BYTES_MAX, STACK_BYTES_MAX),
        (resource.RLIMIT_CPU, limits["cpu_seconds"], limits["cpu_seconds"] + 1),
        (resource.RLIMIT_FSIZE, limits["file_bytes"], limits["file_bytes"]),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_NOFILE, OPEN_FILES_MAX, OPEN_FILES_MAX),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ):
        resource.setrlimit(kind, (soft, hard))


def _drop_rights(uid: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    _die_with_parent()  # again: a change of uid clears it


def become_program(streams: list[int], report: int, limits: dict[str, Any], uid: int) -> NoReturn:
    """This will turn the process into the submitted program, or tell through ``report`` why it could not."""
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        if os.geteuid() == 0:
            os.chown(".", uid, uid)
        _limit(limits)
        _drop_rights(uid)
        os.execve(PYTHON, [PYTHON, "-I", "-S", "-u", "main.py"], {})  # noqa: S606
    except OSError as error:
        os.write(report, json.dumps({"error": f"could not start the program: {error}"}).encode() + b"\n")
    os._exit(127)


def supervise(streams: list[int], report: int, limits: dict[str, Any], uid: int, isolated: bool) -> NoReturn:
    """This will run the program, end it when its time is over, and report what it took."""
    _die_with_parent()
    started, expired = time.monotonic_ns(), False
    program = os.fork()
    if program == 0:
        become_program(streams, report, limits, uid)

    def expire(_signal: int, _frame: FrameType | None) -> None:
        nonlocal expired
        expired = True
        os.kill(program, signal.SIGKILL)

    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, limits["wall_seconds"])
    _, status, usage = os.wait4(program, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    result: dict[str, Any] = {
        "exitCode": os.waitstatus_to_exitcode(status),  # negative: ended by that signal
        "expired": expired,
        "milliseconds": (time.monotonic_ns() - started) // 1_000_000,
        "cpuMilliseconds": round((usage.ru_utime + usage.ru_stime) * 1000),
        "isolated": isolated,
    }
    os.write(report, json.dumps(result).encode() + b"\n")
    os._exit(0)


def main() -> None:
    """This will run ./program inside the limits given as JSON in the first argument."""
    limits = json.loads(sys.argv[1])
    _die_with_parent()
    report = os.dup(1)  # not inheritable: closed when the program starts
    with open("program", "rb") as file:
        program = file.read(PROGRAM_BYTES_MAX)
    streams = [os.open("stdin", os.O_RDONLY), *(os.open(name, os.O_WRONLY) for name in ("stdout", "stderr"))]
    uid = UID_FIRST + os.getpid()
    try:
        enter_namespaces()
        enter_empty_root(program)
    except OSError as error:
        if not limits["weak_allowed"]:
            os.write(report, json.dumps({"error": f"the host does not permit isolation: {error}"}).encode() + b"\n")
            return
        os.rename("program", "main.py")  # runs where it lies, under limits and, beside root, with a uid of its own
        isolated = False
    else:
        isolated = True
    init = os.fork()
    if init == 0:
        supervise(streams, report, limits, uid, isolated)
    os.waitpid(init, 0)


if __name__ == "__main__":
    main()
