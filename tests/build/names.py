#!/usr/bin/python3
# names.py - reports name functions, files and lines, however the program was built; else they can be decoded elsewhere.
# SPDX-License-Identifier: MIT
import os
import pathlib
import sys
import tempfile
import typing

import tap

SOURCE, LIBRARY = pathlib.Path(sys.argv[1]), sys.argv[2]
PROGRAM = SOURCE / "tests/build/names.c"
QUIET = os.environ | {"TETHER_OPTIONS": "exit_summary=0"}
LINES = PROGRAM.read_text().splitlines()


def line_of(what):
    return next(number for number, line in enumerate(LINES, 1) if f"/* the {what} line */" in line)


class Frame(typing.NamedTuple):
    function: str
    file: str
    line: int
    inlined: bool
    module: str
    offset: str
    build_id: str


def frames_of(program, *arguments):
    """What the program tells of itself: nothing of other modules, nor of our own header."""
    rows = [row.split("\t") for row in tap.must(program, *arguments, env=QUIET).splitlines()]
    frames = [Frame(r[0], r[1], int(r[2]), r[3] == "1", r[4], r[5], r[6]) for r in rows]
    return [frame for frame in frames if pathlib.Path(frame.module).name.startswith("names") and not frame.file.endswith("tag.h")]


def build(directory, compiler, name="names", more=""):
    program = directory / name
    tap.must(compiler, "-Wall -Wextra -I", SOURCE / "include", PROGRAM, LIBRARY, more, "-lck -lpthread -o", program)
    return program


WHOLE = [("guilty", line_of("guilty"), False), ("inlined", line_of("inlined"), True), ("main", line_of("outer"), False)]


def is_source(file):
    return pathlib.Path(file).resolve() == PROGRAM.resolve()


def told(frames, count):
    return [(frame.function, frame.line, frame.inlined) for frame in frames[:count]]


def test_whole(what, frames):
    good = told(frames, 3) == WHOLE and all(is_source(frame.file) for frame in frames[:3])
    tap.ok(good, f"{what}: functions, files and lines", *frames)


def test_builds(directory, compiler):
    for flags in ("-O2 -g", "-O0 -g", "-O2 -gdwarf-4", "-O2 -g -gz", "-O2 -g -no-pie", "-O2 -g -static", "-O2 -g -static-pie"):
        test_whole(f"{compiler} {flags}", frames_of(build(directory, f"{compiler} {flags}")))
    test_whole(f"{compiler}, its file is gone", frames_of(build(directory, f"{compiler} -O2 -g"), "unlink"))
    own = build(directory, f"{compiler} -O2 -g -DOWN_LIBBACKTRACE", "names-own", "-lbacktrace")
    test_whole(f"{compiler}, beside the program's own libbacktrace", frames_of(own))


def test_stripped(directory, compiler):
    whole = build(directory, f"{compiler} -O2 -g", "names-whole")

    symbols = directory / "names-symbols"
    tap.must("strip -g -o", symbols, whole)
    frames = frames_of(symbols)
    tap.ok(told(frames, 2) == [("guilty", 0, False), ("main", 0, False)], f"{compiler}, strip -g: functions by their symbols", *frames)

    bare = directory / "names-bare"
    tap.must("strip -o", bare, whole)
    frames = frames_of(bare)
    tap.ok({frame.function for frame in frames} == {"-"}, f"{compiler}, strip: no names", *frames)
    decoded = tap.must("addr2line -i -e", whole, frames[1].offset).splitlines()
    lines = [int(place.split()[0].rsplit(":")[-1]) for place in decoded]
    expected = [line_of("inlined"), line_of("outer")]
    tap.ok(lines == expected, f"{compiler}, strip: addr2line decodes an offset with the whole program", lines, *frames)
    notes = tap.must("readelf -n", whole)
    tap.ok(f"Build ID: {frames[0].build_id}\n" in notes, f"{compiler}, strip: the build id is the whole program's", frames[0].build_id, notes)

    tap.must("objcopy --only-keep-debug", whole, directory / "names.debug")
    tap.must("objcopy --add-gnu-debuglink=names.debug", bare, cwd=directory)
    test_whole(f"{compiler}, strip, with a separate debug file", frames_of(bare))


def test_library():
    """The copy of libbacktrace in the static library."""
    symbols = [line.split() for line in tap.must("nm -A", LIBRARY).splitlines() if ":backtrace.o:" in line]
    defined = sorted(words[-1] for words in symbols if words[-2] == "T")
    tap.ok(defined and all(name.startswith("tetheri_") for name in defined), "libbacktrace's names are our own", *defined)
    wanted = {words[-1] for words in symbols if words[-2] == "U"}
    tap.ok("mmap" in wanted and not wanted & {"malloc", "calloc", "realloc", "free"}, "libbacktrace does without malloc", *sorted(wanted))


with tempfile.TemporaryDirectory() as name:
    for compiler in ("gcc", "clang"):
        test_builds(pathlib.Path(name), compiler)
        test_stripped(pathlib.Path(name), compiler)
test_library()
tap.done()
