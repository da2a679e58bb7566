#!/usr/bin/python3
# atomics.py - docs/memory-model.md has a row for every atomic operation of the library, and for no other.
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys

import tap

SOURCE = pathlib.Path(sys.argv[1])
CLANG = "clang -fsyntax-only -std=gnu11 -D_GNU_SOURCE -Werror=atomic-implicit-seq-cst"
DOCUMENT = SOURCE / "docs/memory-model.md"

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
ATTRIBUTE = re.compile(r"__attribute__\(\(.*\)\)")
NAME = re.compile(r"(\w+)\(")
CALL = re.compile(r"\b(?:__)?(atomic|ck_hs|ck_spinlock)_(\w+)\s*\(")
ORDER = re.compile(r"(?:memory_order|__ATOMIC)_(\w+)$")
ROW = re.compile(r"\| (\S+) `(\w+)` \| (\w+) `([^`]+)` \| ([\w/ ]+) \| [^|]*\w[^|]* \| [^|]*\w[^|]* \|$")


def arguments(text, start):
    """The arguments of a call whose opening parenthesis is at `start`, each on one line."""
    depth, begin, found = 0, start + 1, []
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0 or (depth == 1 and text[at] == ","):
            found.append(" ".join(text[begin:at].split()))
            begin = at + 1
        if depth == 0:
            return found
    raise ValueError(f"no end: {text[start:start + 60]}")


def bodies(text):
    """Each function and macro of a file: its name and its text. Braces of functions stand in the first column."""
    text = COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text)
    for macro in re.finditer(r"^#define (\w+)\((?:\\\n|.)*", text, re.MULTILINE):
        yield macro[1], macro[0]
    text = re.sub(r"^#(?:\\\n|.)*", "", text, flags=re.MULTILINE)
    for function in re.finditer(r"^([^\s#{}].*\n(?:[ \t].*\n)*)\{\n((?:(?!\}).*\n)*)", text, re.MULTILINE):
        yield NAME.search(ATTRIBUTE.sub("", function[1]))[1], function[2]


def operations(body):
    """What a body does to which word, and in which order."""
    for call in CALL.finditer(body):
        library, name = call.groups()
        if library == "atomic":
            name = re.sub(r"^compare_exchange.*", "cas", name.replace("_explicit", "").removesuffix("_n"))
        else:
            name = f"{library}_{name}"
        given = arguments(body, call.end() - 1)
        word = "code" if ORDER.match(given[0]) else re.sub(r"\[[^]]*\]", "[]", given[0].lstrip("& "))  # a fence has no word
        orders = [order[1] for order in map(ORDER.match, given) if order]
        yield name, word, "/".join(orders).lower() or ("none" if library == "atomic" else "its own")


def in_code():
    files = [*SOURCE.glob("lib/*.[ch]"), *SOURCE.glob("include/tether/*.h")]
    return {(path.name, function, *operation)
            for path in files for function, body in bodies(path.read_text()) for operation in operations(body)}


def in_document():
    """The rows of the tables, and the lines that look like rows and are none."""
    rows, bad = set(), []
    for line in DOCUMENT.read_text().splitlines():
        row = ROW.match(line)
        if row:
            rows.add(row.groups())
        elif re.match(r"\| \S+\.[ch]\b", line):
            bad.append(line)
    return rows, bad


def show(operations):
    """Rows as the document has them, to be completed."""
    return [f"| {row[0]} `{row[1]}` | {row[2]} `{row[3]}` | {row[4]} | | |" for row in sorted(operations)]


code, (document, bad) = in_code(), in_document()
tap.ok(len(code) > 100, f"the library has {len(code)} atomic operations")
tap.ok(all(order != "none" for *_, order in code), "each names its order", *show(row for row in code if row[4] == "none"))
tap.ok(not code - document, "each is in docs/memory-model.md", *show(code - document))
tap.ok(not document - code, "docs/memory-model.md has no other", *show(document - code))
tap.ok(not bad, "each row says what it pairs with, and what breaks without it", *bad)
for path in sorted(SOURCE.glob("lib/*.c")):
    implicit = tap.run(CLANG, "-I", SOURCE / "include", path)
    tap.ok(implicit.returncode == 0, f"{path.name} has no atomic without a call", implicit.stdout)
tap.done()
