#!/usr/bin/python3
# headers.py - each public header, used alone, compiles in C11 and C++17 without a warning, checks on and off.
# SPDX-License-Identifier: MIT
import pathlib
import sys

import tap

SOURCE = pathlib.Path(sys.argv[1])
USES = SOURCE / "tests/build/headers"
WARNINGS = "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
COMPILERS = ["gcc -x c -std=c11", "g++ -x c++ -std=c++17", "clang -x c -std=c11", "clang++ -x c++ -std=c++17"]
CHECKS = ["-DTETHER_CHECKS=1", "-DTETHER_CHECKS=0", "-DNDEBUG", "-DTETHER_STATIC", "-DTETHER_TLS_DYNAMIC"]

headers = sorted(header.stem for header in (SOURCE / "include/tether").glob("*.h"))
uses = sorted(use.stem for use in USES.glob("*.c"))
tap.ok(headers == uses, "every public header has a use", f"headers: {headers}", f"uses: {uses}")

for name in uses:
    more = ""
    if name == "python":
        more = tap.headers_of_python()
        if not more:
            tap.skip("python.h: no /usr/bin/python3-config (python3-dev)")
            continue
    for compiler in COMPILERS:
        for checks in CHECKS:
            result = tap.run(compiler, WARNINGS, checks, more, "-O2 -c -o /dev/null -I", SOURCE / "include", USES / f"{name}.c")
            tap.ok(result.returncode == 0, f"{name}.h, {compiler}, {checks}", result.stdout)
tap.done()
