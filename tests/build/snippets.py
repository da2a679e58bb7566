#!/usr/bin/python3
# snippets.py - the code in the documents compiles: C below the first piece of its document, C++ alone.
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys
import tempfile

import tap

SOURCE = pathlib.Path(sys.argv[1])
CODE = re.compile(r"^```(cpp|c)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMPILERS = {"c": ("gcc -std=gnu11", "clang -std=gnu11"), "cpp": ("g++ -std=c++17", "clang++ -std=c++17")}
FLAGS = "-fsyntax-only -Wall -Wextra -Werror -Wno-unused -Wno-unused-parameter"
LOOPS = re.compile(r"#include <(uv|ev|glib-unix)\.h>")  # they need not be there
found = tap.run("pkg-config --cflags-only-I glib-2.0")
PYTHON = tap.headers_of_python()
GLIB = found.stdout if found.returncode == 0 else ""  # else it is a complaint


def compiles(compiler, path):
    return tap.run(compiler, FLAGS, GLIB, PYTHON, "-I", SOURCE / "include", path)


def try_piece(name, language, path, loop):
    if loop and tap.run("gcc -E -x c", GLIB, "-include", f"{loop[1]}.h", "/dev/null").returncode != 0:
        tap.note(f"{name} left out: {loop[1]}.h is not installed")
        return
    for compiler in COMPILERS[language]:
        result = compiles(compiler, path)
        tap.ok(result.returncode == 0, f"{name}: {compiler}", result.stdout)


with tempfile.TemporaryDirectory() as directory:
    for document in (SOURCE / "README.md", SOURCE / "docs/guide.md", SOURCE / "docs/python.md"):
        if document.stem == "python" and not PYTHON:
            tap.skip("docs/python.md: no /usr/bin/python3-config (python3-dev)")
            continue
        pieces = CODE.findall(document.read_text())
        tap.ok(pieces, f"{document.name} has code")
        for number, (language, code) in enumerate(pieces):
            path = pathlib.Path(directory) / f"piece.{language}"
            path.write_text(code if language == "cpp" or number == 0 else pieces[0][1] + code)
            try_piece(f"{document.name}, piece {number + 1}", language, path, LOOPS.search(code))
tap.done()
