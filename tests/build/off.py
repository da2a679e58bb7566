#!/usr/bin/python3
# off.py - with checks off, object code is what it is without TETHER_CHECK and TETHER_ENTER, byte for byte; a role
# never makes any.
# SPDX-License-Identifier: MIT
import pathlib
import sys
import tempfile

import tap

SOURCE = pathlib.Path(sys.argv[1])
CHECK = SOURCE / "tests/build/check.c"


def code(directory, compiler, flags):
    """Compile check.c. Returns the whole object file."""
    made = directory / "check.o"
    tap.must(compiler, flags, "-g0 -fPIC -c -o", made, "-I", SOURCE / "include", CHECK)
    return made.read_bytes()


with tempfile.TemporaryDirectory() as name:
    directory = pathlib.Path(name)
    for compiler in ("gcc", "g++ -x c++", "clang", "clang++ -x c++"):
        for level in ("-O0", "-O2"):
            without = code(directory, compiler, level)
            for off in ("-DTETHER_CHECKS=0", "-DNDEBUG"):
                for form in ("-DCHECK", "-DCHECK_ROLE", "-DUSE", "-DSCOPE"):
                    same = code(directory, compiler, f"{level} {form} {off}") == without
                    tap.ok(same, f"{compiler} {level} {form} {off}: the same object code as without the macro")
            on = {form: code(directory, compiler, f"{level} {form} -DTETHER_CHECKS=1") for form in ("-DCHECK", "-DUSE", "-DSCOPE")}
            for form, checked in on.items():
                tap.ok(checked != without, f"{compiler} {level} {form} -DTETHER_CHECKS=1: other object code")
            role = code(directory, compiler, f"{level} -DCHECK_ROLE -DTETHER_CHECKS=1")
            tap.ok(role == on["-DCHECK"], f"{compiler} {level} -DTETHER_CHECKS=1: the same with a role")
tap.done()
