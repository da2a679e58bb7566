#!/usr/bin/python3
# fibers.py - what examples/fibers.c shows: with one owner for the thread nobody notices, with one for each fiber both do.
# SPDX-License-Identifier: MIT
import re
import sys

import tap

ran = tap.run(sys.argv[1])
lines = [line for line in ran.stdout.splitlines() if not line.startswith("==")]  # the summary, a sanitizer's note
report = r"  report: wrong-thread use( \S*fibers\.c:\d+ in run)?.* \(session: {} -> {}\)"
expected = [
    "The thread owns all objects:",
    "ann touches its own session: passes", "ann touches bob's session: passes",
    "bob touches its own session: passes", "bob touches ann's session: passes",
    "  bob's session ends as owner #1", "  ann's session ends as owner #1",
    "Each fiber owns its objects:",
    "ann touches its own session: passes", report.format("bob", "ann"), "ann touches bob's session: reported",
    "bob touches its own session: passes", report.format("ann", "bob"), "bob touches ann's session: reported",
    "  ann's session ends as owner #2", "  bob's session ends as owner #3",
]

tap.ok(ran.returncode == 0, "it ends well", f"status {ran.returncode}")
for i, pattern in enumerate(expected):
    line = lines[i] if i < len(lines) else "nothing more"
    tap.ok(re.fullmatch(pattern, line), pattern.strip(), f"it says: {line}")
tap.ok(len(lines) == len(expected), "and no more", *lines[len(expected):])
tap.done()
