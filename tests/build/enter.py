#!/usr/bin/python3
# enter.py - to enter an owner and leave it takes as many instructions with ten thousand owners as with ten.
# SPDX-License-Identifier: MIT
import pathlib
import re
import shutil
import sys
import tempfile

import tap

SOURCE, SHARED = map(pathlib.Path, sys.argv[1:])
ROUNDS, FEW = 100, 10


def instructions(program, owners, rounds):
    output = tap.must("valgrind --tool=callgrind --callgrind-out-file=/dev/null", program, str(owners), str(rounds))
    return int(re.search(r"Collected : (\d+)", output)[1])


def of_a_pair(program, owners):
    more = instructions(program, owners, 2 * ROUNDS) - instructions(program, owners, ROUNDS)
    return more / (ROUNDS * FEW)


if not shutil.which("valgrind"):
    print("1..0 # SKIP there is no valgrind")
    sys.exit(0)
with tempfile.TemporaryDirectory() as directory:
    program = pathlib.Path(directory) / "enter"
    tap.must("cc -O2 -I", SOURCE / "include", "-o", program, SOURCE / "tests/build/enter.c", SHARED, f"-Wl,-rpath,{SHARED.parent}")
    few, many = of_a_pair(program, 10), of_a_pair(program, 10_000)
tap.note(f"{few:.0f} instructions")
tap.ok(few == many, "as many for ten owners as for ten thousand", f"{few} and {many}")
tap.done()
