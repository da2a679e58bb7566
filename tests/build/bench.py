#!/usr/bin/python3
# bench.py - what bench/run makes of measurements: the fields of results.json, what is thrown away, missing or met.
# SPDX-License-Identifier: MIT
import json
import os
import pathlib
import re
import stat
import sys
import tempfile

import tap

SOURCE = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(SOURCE / "bench"))
import suite  # noqa: E402

GOOD = {"line_ns": [100, 110], "busy": 0.99}
DRIVEN = [
    *[{"subject": "floor", "value": value} | GOOD for value in (9, 10, 11)],
    *[{"subject": "tether", "value": value} | GOOD for value in (29, 30, 50)],
    {"subject": "tether", "value": 1} | GOOD | {"line_ns": [20, 100]},   # on one core
    {"subject": "tether", "value": 2} | GOOD | {"line_ns": [100, 400]},  # moved apart
    {"subject": "tether", "value": 3} | GOOD | {"busy": 0.3},            # taken away
    {"subject": "mutex-eventfd", "value": 44} | GOOD,
    {"subject": "ck_stack", "value": 44} | GOOD | {"busy": 0.1},
]
CHECKS = {"floor": [1, 2, 3], "tether": [2.1, 2.2, 2.3], "fragile": [6, 6, 6], "mutex": [20, 20, 20]}


def google():
    runs = [{"name": f"check/{subject}", "run_type": "iteration", "cpu_time": value, "real_time": 9 * value}
            for subject, values in CHECKS.items() for value in values]
    return json.dumps({"context": {"compiler": "cc 1"}, "benchmarks": runs})


def driver():
    return "\n".join(json.dumps({"figure": "drop.sum", "producers": 1, "size": 4000, "unit": "ns"} | line) for line in DRIVEN)


def program(directory, name, output):
    """One that prints this, whatever it is asked."""
    path = directory / "bench" / name
    path.write_text(f"#!/bin/sh\ncat <<'EOD'\n{output}\nEOD\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run():
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        os.mkdir(directory / "bench")
        program(directory, "check", google())
        program(directory, "drop", driver())
        printed = tap.must(SOURCE / "bench/run", directory)
        return json.loads((directory / "results.json").read_text()), (directory / "results.md").read_text(), printed


output, table, printed = run()
entries = {(entry["figure"], entry["subject"]): entry for entry in output["results"]}
drop, check = entries["drop.sum", "tether"], entries["check", "tether"]

fields = ["machine", "compiler", "rustc", "flags", "commit", "date", "quick", "results"]
tap.ok(list(output) == fields, "results.json says where it ran, and what came out", list(output))
tap.ok(list(output["machine"]) == ["cpu", "cores", "kernel", "governor", "load"], "and on what machine", output["machine"])
fields = ["figure", "subject", "producers", "size", "median", "min", "max", "unit", "rounds", "discarded", "ratios", "targets"]
tap.ok(list(drop) == fields, "an entry has its fields", list(drop))
tap.ok((drop["median"], drop["min"], drop["max"], drop["rounds"]) == (30, 29, 50, 3), "the median and its spread are of the rounds that count", drop)
tap.ok(drop["discarded"] == 3, "rounds on one core, on cores that moved, and without a core are thrown away and counted", drop)
tap.ok(entries["drop.sum", "ck_stack"].get("skipped", "").startswith("all 1 rounds"), "a subject without a round that counts is skipped", entries["drop.sum", "ck_stack"])
tap.ok(drop["ratios"] == {"floor": 3.0}, "a drop stands beside the floor", drop)
tap.ok([t["met"] for t in entries["drop.sum", "mutex-eventfd"]["targets"]] == [None, False],
       "a target is not met, or what it compares with is missing", entries["drop.sum", "mutex-eventfd"])
tap.ok(check["median"] == 0.2 and check["targets"] == [{"text": "at most 0.5 ns", "met": True}], "a check is what it adds to the loop", check)
tap.ok(entries["check", "fragile"]["ratios"]["tether"] == 8.0, "a check below half a nanosecond counts as that in ratios", entries["check", "fragile"])
tap.ok(entries["check", "mutex"]["median"] == 18 and entries["check", "mutex"]["discarded"] == 0, "the CPU time of one thread counts, whoever had the core in between", entries["check", "mutex"])
tap.ok("libck-dev" in entries["drop.sum", "ck_ring"]["skipped"], "what was not built names its package", entries["drop.sum", "ck_ring"])
tap.ok("not built" in entries["bind", "tether"]["skipped"], "and so does a program", entries["bind", "tether"])
tap.ok({(figure.name, subject) for figure in suite.FIGURES for subject in figure.subjects} == set(entries), "nothing of the suite is left out")
sources = "".join(path.read_text(encoding="utf-8") for path in (SOURCE / "bench").rglob("*") if path.is_file() and path.name != "suite.py")
unknown = {subject for figure in suite.FIGURES for subject in figure.subjects if not re.search(rf'["/]{re.escape(subject)}"', sources)}
tap.ok(not unknown, "each subject is one of the programs'", unknown)
measured = [target[:2] for target in suite.TARGETS if target[:2] not in entries]
tap.ok(not measured, "each target is that of a figure and a subject", measured)
tap.ok(any(line.split("|")[1:4] == [f" {text} " for text in ("drop.sum".ljust(8), "tether".ljust(13), "1        ")] for line in table.splitlines()),
       "the table has a row for it", table)
tap.ok(table.strip() in printed, "which is printed, too")
tap.done()
