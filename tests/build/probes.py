#!/usr/bin/python3
# probes.py - the static probes (USDT) are there, with their arguments in registers, and on cold paths only.
# SPDX-License-Identifier: MIT
import re
import sys

import tap

ARGUMENTS = {"report": 2, "owner_start": 2, "owner_end": 2, "wake": 1, "orphan": 2, "stall": 2}
# What the check and a drop run while all is well.
HOT = re.compile(r"tether_(bind|check|claim|drop|drop_later|is_mine|drain|park|post|self)\b|"
                 r"(mark|send_to|destroy_here|publish|tetheri_inbox_\w+|tetheri_run_\w+)\b")

source, library, expected = sys.argv[1:]


def probes():
    """Of each probe: its name, where it is, its arguments."""
    notes = tap.must("readelf --notes --wide", library)
    return re.findall(r"Provider: tether\s+Name: (\w+)\s+Location: (\w+),.*\s+Arguments: (.*)", notes)


def functions():
    """Where each function begins and ends. The parts that a compiler moves out of the way have names of their own."""
    symbols = tap.must("nm --defined-only -S", library)
    return [(int(start, 16), int(start, 16) + int(size, 16), name)
            for start, size, name in re.findall(r"^(\w+) (\w+) [tT] (\S+)$", symbols, re.MULTILINE)]


def is_cold(location):
    containing = [name for start, end, name in functions() if start <= location < end]
    return bool(containing) and not any(HOT.fullmatch(name) for name in containing), containing


found = probes()
if expected == "no":
    tap.ok(not found, "a library that was built without them has none", *found)
    tap.done()

tap.ok(sorted({name for name, _, _ in found}) == sorted(ARGUMENTS), "all are there", *found)
for name, location, arguments in found:
    operands = arguments.split()
    tap.ok(len(operands) == ARGUMENTS.get(name), f"{name}: number of arguments", arguments)
    tap.ok(all(re.fullmatch(r"-?\d@(%\w+|x\d+|w\d+|\$?-?\d+)", operand) for operand in operands), f"{name}: no argument in memory",
           arguments)
    cold, containing = is_cold(int(location, 16))
    tap.ok(cold, f"{name}: off the fast paths", *containing)
    code = tap.must("objdump -d", f"--start-address={location} --stop-address={int(location, 16) + 4:#x}", library)
    tap.ok(re.search(r"\bnop\b", code), f"{name}: costs a nop", code)
tap.done()
