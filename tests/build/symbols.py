#!/usr/bin/python3
# symbols.py - headers, version script and shared library name the same symbols; the library stays loaded, and a thread's own part is small.
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys

import tap

source, library = pathlib.Path(sys.argv[1]), sys.argv[2]


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def declared():
    """What the public headers declare with TETHER_API: the name before a function's parameters, or before a TLS model."""
    names = set()
    for header in (source / "include/tether").glob("*.h"):
        text = re.sub(r"#define(\\\n|.)*", "", without_comments(header.read_text()))
        for declaration in re.findall(r"\bTETHER_API\b([^;]*);", text):
            names.add(re.search(r"(\w+)\s*(?:\(|TETHER_TLS_|$)", declaration)[1])
    return names


def mapped():
    """What the version script exports."""
    script = without_comments((source / "lib/tether.map").read_text())
    return set(re.findall(r"(\w+);", script.split("global:")[1].split("local:")[0]))


def exported():
    """What the shared library defines, without the names of its versions."""
    lines = [line.split() for line in tap.must("nm -D --defined-only", library).splitlines()]
    return {name.split("@")[0] for _, kind, name in lines if kind != "A"}


def same(left, right, what):
    tap.ok(left == right, what, f"only in the first: {sorted(left - right)}", f"only in the second: {sorted(right - left)}")


tap.ok(len(mapped()) > 20, f"the version script names {len(mapped())} symbols")
same(declared(), mapped(), "the headers declare what the version script exports")
same(exported(), mapped(), "the shared library exports what the version script names")
flags = tap.must("readelf -d", library)
tap.ok("NODELETE" in flags, "the shared library is never unloaded", flags)
tls = re.search(r"^\s*TLS\s+\S+\s+\S+\s+\S+\s+\S+\s+(\S+)", tap.must("readelf -lW", library), re.MULTILINE)
tap.ok(tls and int(tls[1], 16) <= 128, f"a thread's storage takes {tls and int(tls[1], 16)} bytes, at most 128")
tap.done()
