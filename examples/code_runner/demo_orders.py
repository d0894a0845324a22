"""What the demo's customers submit: ordinary programs for the most part, and some that go wrong in every way."""

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """A program, what it is sold as, and how its run must end."""

    name: str
    code: str
    status: str = "completed"
    tier: str = "basic"
    stdin: str = ""
    stdout: str | None = None  # None: not looked at


ORDINARY = [
    Program("sum", "print(sum(range(200_000)))", stdout="19999900000\n"),
    Program("reverse", "print(input()[::-1])", stdin="a farthing\n", stdout="gnihtraf a\n"),
    Program(
        "primes",
        "n = 20_000\nsieve = bytearray([1]) * n\nfor i in range(2, 142):\n"
        "    if sieve[i]: sieve[i*i::i] = bytes(len(sieve[i*i::i]))\nprint(sum(sieve) - 2)",
        stdout="2262\n",
    ),
    Program(
        "words",
        "import sys, collections\nprint(collections.Counter(sys.stdin.read().split()).most_common(1))",
        stdin="to be or not to be to",
        stdout="[('to', 3)]\n",
    ),
    Program(
        "files", "open('x', 'w').write('kept for a moment')\nprint(open('x').read())", stdout="kept for a moment\n"
    ),
]
PREMIUM = [
    Program(
        "mandelbrot",
        "def steps(c):\n    z = 0\n    for n in range(60):\n        if abs(z) > 2: return n\n        z = z * z + c\n"
        "    return 60\nprint(sum(steps(complex(x / 25 - 2, y / 20 - 1)) for x in range(75) for y in range(40)))",
        tier="premium",
    ),
    Program("memory", "print(len(bytearray(300 << 20)))", tier="premium", stdout="314572800\n"),
]
FAILING = [
    Program("division by zero", "1 / 0", "failed"),
    Program("no Python", "this isn't Python", "failed"),
    Program("exit code", "raise SystemExit(3)", "failed"),
    Program("killed by itself", "import os; os.abort()", "failed"),
    Program("fork", "import os; os.fork()", "failed"),
    Program("network", "import socket; socket.create_connection(('127.0.0.1', 80))", "failed"),
    Program("too much memory", "x = bytearray(1 << 30)", "memory_limit"),
    Program("too much output", "while True: print('x' * 1000)", "output_limit"),
]
ENDLESS = [
    Program("endless loop", "while True: pass", "time_limit"),
    Program("endless sleep", "import time; time.sleep(3600)", "time_limit"),
]


def orders(*, seed: int, count: int) -> Iterator[Program]:
    """This will mix programs, the same for the same seed: of every 100 about 20 are premium and 12 go wrong."""
    chance = random.Random(seed)  # noqa: S311  no secret
    for number in range(count):
        kind = chance.random()
        if number == count // 3:
            yield chance.choice(ENDLESS)  # they take seconds, so each customer has one
        else:
            yield chance.choice(FAILING if kind < 0.12 else PREMIUM if kind < 0.32 else ORDINARY)
