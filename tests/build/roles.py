#!/usr/bin/python3
# roles.py - clang -Wthread-safety warns on the lines marked so, and on no other; without it, roles are not noticed.
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys

import tap

SOURCE = pathlib.Path(sys.argv[1])
HERE = SOURCE / "tests/build/roles"
WARNINGS = "-Wall -Wextra -Wpedantic -Wshadow -Werror"
SOURCES = {
    "conn.c": ("gcc -x c -std=c11", "g++ -x c++ -std=c++17", "clang -x c -std=c11", "clang++ -x c++ -std=c++17"),
    "stream.cc": ("g++ -std=c++17", "clang++ -std=c++17"),
}
CHECKS = ("-DTETHER_CHECKS=1", "-DTETHER_CHECKS=0")
MARK = "/* warns */"
WARNING = re.compile(r"^(.+?):(\d+):\d+: (?:warning|error): (.*)$", re.MULTILINE)


def compiles(compiler, flags, name):
    return tap.run(compiler, flags, "-fsyntax-only -I", SOURCE / "include", HERE / name)


def warned(output):
    """The lines on which there was a warning, with all that it said; a warning elsewhere has line 0."""
    found = {}
    for path, line, text in WARNING.findall(output):
        found.setdefault(int(line) if pathlib.Path(path).parent == HERE else 0, []).append(text)
    return found


def test_warnings(compiler, checks, name):
    lines = (HERE / name).read_text().splitlines()
    wanted = {number for number, line in enumerate(lines, 1) if MARK in line}
    found = warned(compiles(compiler, f"-Wthread-safety {checks}", name).stdout)
    what = f"{name}: {compiler} -Wthread-safety {checks}"
    for number in sorted(wanted):
        tap.ok(number in found, f"{what}: line {number} warns", lines[number - 1])
    others = [f"{number}: {text}" for number, texts in found.items() if number not in wanted for text in texts]
    tap.ok(wanted and not others, f"{what}: no other line warns", *others)
    strange = [text for texts in found.values() for text in texts if "-Wthread-safety-analysis" not in text]
    tap.ok(not strange, f"{what}: and of nothing else", *strange)


for name, compilers in SOURCES.items():
    for compiler in compilers:
        for checks in CHECKS:
            result = compiles(compiler, f"{WARNINGS} {checks}", name)
            tap.ok(result.returncode == 0, f"{name}: {compiler} {checks}: silent without -Wthread-safety", result.stdout)
            if compiler.startswith("clang"):
                test_warnings(compiler, checks, name)
tap.done()
