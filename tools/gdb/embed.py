#!/usr/bin/python3
# embed.py - make a C file that carries a gdb script where gdb finds it: embed.py SCRIPT OUTPUT
# SPDX-License-Identifier: MIT
import pathlib
import sys

# An entry of the section says what it is (4: a script in Python, with its name in the first line) and ends
# with a zero. The section is not loaded with the program. C has no word for such a section, the assembler has.
# The symbol is for a file that is always linked to ask for, so that a static library gives this one as well.
TEMPLATE = """\
/* Made by tools/gdb/embed.py. */
#pragma GCC diagnostic ignored "-Woverlength-strings"
__asm__({lines});
"""
BEFORE = ['.pushsection .debug_gdb_scripts, "MS", %progbits, 1', ".byte 4", '.ascii "gdb.inlined-tether\\n"']
AFTER = [".byte 0", ".popsection", ".globl tetheri_gdb_script", ".hidden tetheri_gdb_script", ".set tetheri_gdb_script, 0"]


def quoted(text):
    """A string of the assembler's or of C's."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


script = pathlib.Path(sys.argv[1]).read_text(encoding="ascii")
lines = [*BEFORE, *(f".ascii {quoted(line)}" for line in script.splitlines(keepends=True)), *AFTER]
pathlib.Path(sys.argv[2]).write_text(TEMPLATE.format(lines="\n\t".join(quoted(line + "\n") for line in lines)))
