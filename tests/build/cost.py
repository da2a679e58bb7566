#!/usr/bin/python3
# cost.py - a check that holds costs a few instructions and no call, as disassembly shows.
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys
import tempfile

import tap

SOURCE = pathlib.Path(sys.argv[1])
HERE = SOURCE / "tests/build"
COMPILERS = ["gcc", "clang"]

# What a check may add to the way through the functions of check.c in position-independent code: a load,
# a GOT load, a comparison and a branch; a move for each argument that is passed on from where it came in;
# in a leaf function, the saving of each argument that is needed after the cold call. No GOT load in executables.
BOUNDS = {
    "calls_with_one": 5, "calls_with_two": 6, "calls_with_three": 6,
    "leaf_with_one": 7, "leaf_with_two": 12, "leaf_without_result": 12,
}
FLAVOURS = {"-fPIC": 0, "-fPIE -DTETHER_STATIC": -1, "-fno-pie -DTETHER_STATIC": -1}

FUNCTION = re.compile(r"^[0-9a-f]+ <(\S+)>:$")
INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\s+(?:bnd |notrack )?(\S+)\s*(.*)$")
RELOCATION = re.compile(r"^\s+[0-9a-f]+: R_\S+\s+([^-+\s]+)")


class Instruction:
    def __init__(self, address, name, operands):
        self.address, self.name, self.operands = int(address, 16), name, operands
        self.symbol = None  # what the linker will put there

    def jumps(self):
        return self.name.startswith("j")


def disassemble(directory, compiler, flags):
    """Compile check.c. Returns its instructions by function."""
    code = directory / "check.o"
    tap.must(compiler, flags, "-g0 -c -o", code, "-I", SOURCE / "include", HERE / "check.c")
    functions, current = {}, []
    for line in tap.must("objdump -dr --no-show-raw-insn", code).splitlines():
        if match := FUNCTION.match(line):
            current = functions.setdefault(match[1], [])
        elif match := RELOCATION.match(line):
            current[-1].symbol = match[1]
        elif match := INSTRUCTION.match(line):
            current.append(Instruction(*match.groups()))
    return functions


def good_path(function):
    """The instructions from the entry to the return, taking no conditional jump."""
    at = {instruction.address: index for index, instruction in enumerate(function)}
    path, index = [], 0
    while True:
        instruction = function[index]
        path.append(instruction)
        if instruction.name.startswith("ret"):
            return path
        index += 1
        if instruction.name.startswith("jmp"):
            index = at[int(instruction.operands.split()[0], 16)]


def calls(instructions):
    return [instruction.symbol for instruction in instructions if instruction.name.startswith("call")]


def conditions(instructions):
    return [i.name for i in instructions if i.jumps() and not i.name.startswith("jmp")]


def test_optimised(directory, compiler, flags, fewer):
    plain = disassemble(directory, compiler, f"-O2 {flags}")
    checked = disassemble(directory, compiler, f"-O2 {flags} -DCHECK")
    for name, bound in BOUNDS.items():
        before, after = good_path(plain[name]), good_path(checked[name])
        added, bound = len(after) - len(before), bound + fewer
        what = f"{compiler} -O2 {flags}: {name}"
        tap.ok(0 < added <= bound, f"{what}: {added} instructions added, at most {bound}")
        # jne: the way without a jump is the one on which the numbers are equal.
        tap.ok(conditions(after) == [*conditions(before), "jne"], f"{what}: one branch, not taken", conditions(after))
        tap.ok(calls(after) == calls(before), f"{what}: no call on the good path", calls(after))


def test_unoptimised(directory, compiler):
    """At -O0 the way is no straight line, so run it too, with a cold half that ends the program."""
    checked = disassemble(directory, compiler, "-O0 -fPIC -DCHECK")
    plain = disassemble(directory, compiler, "-O0 -fPIC")
    for name in plain:
        added = sorted(calls(checked[name])) == sorted([*calls(plain[name]), "tether_check_failed_"])
        tap.ok(added, f"{compiler} -O0: {name}: the cold half is the only call added", calls(checked[name]))
    program = directory / "way"
    tap.must(compiler, "-O0 -fPIE -pie -DCHECK -o", program, "-I", SOURCE / "include", HERE / "check.c", HERE / "way.c")
    tap.ok(tap.run(program, "mine").returncode == 0, f"{compiler} -O0: no call on the good path")
    tap.ok(tap.run(program, "not-mine").returncode == 3, f"{compiler} -O0: a call on the other")


with tempfile.TemporaryDirectory() as name:
    for compiler in COMPILERS:
        for flags, fewer in FLAVOURS.items():
            test_optimised(pathlib.Path(name), compiler, flags, fewer)
        test_unoptimised(pathlib.Path(name), compiler)
tap.done()
