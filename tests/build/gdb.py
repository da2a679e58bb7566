#!/usr/bin/python3
# gdb.py - gdb's commands and pretty-printer: what they say of a process and of a core file, and how gdb finds them.
# SPDX-License-Identifier: MIT
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tap

source, build, shared, static = map(pathlib.Path, sys.argv[1:])
script = source / "tools/gdb/tether-gdb.py"
OWNER = r"'the {}' \(owner #\d+\)"


def gdb(program, commands, *before, core=None, **environment):
    """Run gdb's commands. Returns what each one printed, and everything."""
    words = ["gdb", "-nx", "--batch", *before, str(program), *([str(core)] if core else [])]
    for number, command in enumerate(commands):
        words += ["-ex", f"echo \\n@@{number}\\n", "-ex", command]
    output = subprocess.run(words, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True).stdout
    pieces = re.split(r"\n@@\d+\n", output)[1:]
    pieces += [""] * (len(commands) - len(pieces))
    return {command: piece.strip("\n") for command, piece in zip(commands, pieces)}, output


def says(where, answers, command, *lines):
    """Each line of the answer is as expected: a regular expression for each."""
    got = answers[command].splitlines()
    good = len(got) == len(lines) and all(re.fullmatch(line, text) for line, text in zip(lines, got))
    tap.ok(good, f"{where}: {command}", "expected:", *lines, "got:", *got)


def has_no_traces(where, output):
    tap.ok("Python Exception" not in output and "Traceback" not in output, f"{where}: no traces of Python", output)


def history(where, age):
    """Lines of `tether describe` that tell of binding and dropping on the loop."""
    return ["  history, newest first:", rf"    dropped by thread \d+, which has no owner{age}, at run_nobody \({where}\)",
            rf"    bound by {OWNER.format('loop')}{age}, at conn_create \({where}\)"]


OWNERS, PENDING = "tether owners", "tether pending"
NOTHING = ["tether describe nothing", "tether describe 0", "tether describe -1", "tether describe 1.5", "tether describe main",
           'tether describe "abc"', "tether describe", "tether describe garbage", "print garbage", "tether pending 77"]
LOOK = [OWNERS, PENDING, "tether pending the loop", "tether pending #2", "tether pending 1", "tether describe theirs",
        "tether describe *theirs", "tether describe &theirs->base.tether", "tether describe mine", "tether describe orphan",
        "tether describe unclaimed", "tether describe dead", "tether describe zero", "tether describe note", "print mine->base",
        "print orphan->base.tether", "print zero", "print note.node_", "output mine", *NOTHING]


def check_look(where, answers, output, age):
    """What there is to see in program.c where it stops first. `age`: how an age is given, if it is."""
    main, loop = (rf"'the {name}' \(owner #{number}\), tid \d+, thread {number}, alive"
                  for name, number in (("main", 1), ("loop", 2)))
    short = OWNER.format("short one") + ", exited"
    line = r"\S*program\.c:\d+"
    is_pending = ["'the loop' \\(owner #2\\): 2 pending", r'  conn "10\.0\.0\.7:52114" at 0x\w+', r"  message for note_called, at 0x\w+"]
    theirs = [r'conn "10\.0\.0\.7:52114" at 0x\w+: dropped, not destroyed yet', f"  belongs to {loop}", *history(line, age)]
    answers["tether describe mine"] = re.sub(r"    #[2-9] .*\n", "", answers["tether describe mine"])  # the C library's
    mine = re.search(r"0x\w+", answers["output mine"])

    says(where, answers, OWNERS, r"  #1 'the main', tid \d+, thread 1, alive, never drained, 0 pending",
         r"  #2 'the loop', tid \d+, thread 2, alive, never drained, 2 pending",
         r"  #3 'the fiber', nobody inside, alive, never drained, 0 pending",
         r"  #4 'the strand', inside: 'the main', tid \d+, thread 1, alive, never drained, 0 pending",
         r"  #5 'the short one', exited, never drained, 0 pending")
    for command in (PENDING, "tether pending the loop", "tether pending #2"):
        says(where, answers, command, *is_pending)
    says(where, answers, "tether pending 1", "nothing is pending")
    for command in ("tether describe theirs", "tether describe *theirs", "tether describe &theirs->base.tether"):
        says(where, answers, command, *theirs)
    says(where, answers, "tether describe mine", rf'conn "mine" at {mine and mine[0]}: bound', f"  belongs to {main}",
         rf"  bound{age.lstrip(',')} at:", rf"    #0 conn_create \({line}\)", rf"    #1 main \({line}\)",
         "  history, newest first:", rf"    bound by {OWNER.format('main')}{age}, at conn_create \({line}\)")
    tap.ok(re.search(f"belongs to {short}", answers["tether describe orphan"]), f"{where}: an owner that has exited",
           answers["tether describe orphan"])
    tap.ok("nobody's yet\n  belongs to nobody" in answers["tether describe unclaimed"], f"{where}: an unclaimed object",
           answers["tether describe unclaimed"])
    tap.ok(re.search(r"destroyed\n  belonged to 'the main'(.*\n)*.*ended by 'the main'.*(.*\n)*.*bound by", answers["tether describe dead"]),
           f"{where}: an object that was ended", answers["tether describe dead"])
    says(where, answers, "tether describe zero", r"never bound, at 0x\w+")
    says(where, answers, "tether describe note", rf"message for note_called, at 0x\w+: posted to {loop}")
    says(where, answers, "print mine->base", rf'\$\d+ = {{tether = conn "mine", bound, {main}}}')
    says(where, answers, "print orphan->base.tether", rf"\$\d+ = conn, bound, {short}")
    says(where, answers, "print zero", r"\$\d+ = never bound")
    says(where, answers, "print note.node_", rf"\$\d+ = message, posted, {loop}")

    no_tag = r"0x\w+ is no tag, or something wrote over it: its state is 0x1234"
    for command, line in zip(NOTHING, (r'No symbol "nothing" in current context\.', "cannot read 32 bytes at 0x0",
                                       "cannot read 32 bytes at 0xf{16}", "there is no struct tether in '1.5', which is a double",
                                       r"there is no struct tether in 'main', which is a int \(void\)",
                                       r"there is no struct tether in '\"abc\"', which is a char \[4\]",
                                       "describe what.*", no_tag, no_tag, "there is no owner '77'.*")):
        says(where, answers, command, (r"\$\d+ = " if command.startswith("print") else "tether: ") + line)
    has_no_traces(where, output)


def compile_program(name, compiler, *libraries):
    program = directory / pathlib.Path(name).stem
    tap.must(compiler, "-g -O1 -fno-omit-frame-pointer -I", source / "include", "-o", program, source / "tests/gdb" / name,
             *libraries, "-pthread")
    return program


def static_libraries():
    """What a program needs that contains the library."""
    return [static, "-lck"]


# ---- Programs ----------------------------------------------------------------------------------


def test_process_and_core(program):
    core = directory / "core"
    trusted = ["-iex", f"add-auto-load-safe-path {shared.parent}"]
    answers, output = gdb(program, ["break stop_here", "run", *LOOK, f"generate-core-file {core}"], *trusted)
    check_look("process", answers, output, r", \d+\.\d [mun]?s ago")
    if tap.ok(core.exists(), "a core file was made", output):
        answers, output = gdb(program, LOOK, *trusted, core=core)
        check_look("core", answers, output, "")


def test_what_is_running(program):
    """Inside a destructor, which dropped a peer: that comes next, then what was taken from the inbox."""
    answers, output = gdb(program, ["break stop_in_destructor", "run", OWNERS, PENDING], "-iex",
                          f"add-auto-load-safe-path {shared.parent}")
    tap.ok(re.search(r"#2 'the loop', tid \d+, thread 2, alive, drained \d.* ago, 2 pending, is destroying a conn", answers[OWNERS]),
           "what an owner is doing", answers[OWNERS])
    says("in a destructor", answers, PENDING, r"'the loop' \(owner #2\): 2 pending", r'  conn "the peer" at 0x\w+',
         r"  message for note_called, at 0x\w+")
    has_no_traces("in a destructor", output)


def test_damage(program):
    links = {"0x13": "the list of what is pending is damaged at 0x13", "&note": r"the list .* is damaged at 0x\w+",
             "0x10": "cannot read 32 bytes at 0x10"}
    for link, expected in links.items():
        answers, output = gdb(program, ["break stop_here", "run", f"set var theirs->base.tether.next_ = (unsigned long){link}", PENDING],
                              "-iex", f"add-auto-load-safe-path {shared.parent}")
        says(f"a link to {link}", answers, PENDING, f"tether: {expected}")
        has_no_traces(f"a link to {link}", output)


def test_classes():
    program = compile_program("classes.cc", "g++ -std=c++17", shared, f"-Wl,-rpath,{shared.parent}")
    answers, output = gdb(program, ["break stop_here", "run", "tether describe object", "tether describe &object",
                                    "print object"], "-iex", f"add-auto-load-safe-path {shared.parent}")
    for command in ("tether describe object", "tether describe &object"):
        tap.ok(re.match(r'Derived "an object" at 0x\w+: bound\n  belongs to \'the main\'', answers[command]), f"C++: {command}",
               answers[command])
    tap.ok(re.search(r'tether = Derived "an object", bound, \'the main\'', answers["print object"]), "C++: print", answers["print object"])
    has_no_traces("C++", output)


# ---- How gdb finds the script ------------------------------------------------------------------


def test_embedded(program_static):
    for name, file in (("shared library", shared), ("program with a static one", program_static)):
        section = directory / "section"
        tap.must("objcopy --dump-section", f".debug_gdb_scripts={section}", file, directory / "copy")
        tap.ok(section.read_bytes() == b"\4gdb.inlined-tether\n" + script.read_bytes() + b"\0", f"{name}: contains the script")
        flags = re.search(r"\.debug_gdb_scripts +PROGBITS +(\w+) \w+ \w+ \w+ +(\w+)", tap.must("readelf -SW", file))
        tap.ok(flags and int(flags[1], 16) == 0 and "A" not in flags[2], f"{name}: does not load it", flags and flags[0])

    answers, output = gdb(program_static, ["break stop_here", "run", "info auto-load python-scripts", OWNERS], "-iex",
                          f"add-auto-load-safe-path {program_static}")
    tap.ok(re.search(r"Yes +gdb\.inlined-tether", answers["info auto-load python-scripts"]) and "#1 'the main'" in answers[OWNERS],
           "gdb loads it from a program with a static library", output)


def test_installed(program):
    """Install below a directory, and tell gdb to look there as if that were the root."""
    root = directory / "root"
    tap.must("meson install -C", build, "--no-rebuild --quiet --destdir", root)
    scripts = list(root.rglob(f"{shared.resolve().name}-gdb.py"))
    libraries = [path for path in root.rglob("libtether.so.0") if path.is_symlink()]
    if not tap.ok(len(scripts) == 1 and len(libraries) == 1 and scripts[0].read_bytes() == script.read_bytes(),
                  "the script is installed", *root.rglob("*gdb*")):
        return
    library = libraries[0].resolve()
    before, _, after = str(scripts[0]).partition("/auto-load")
    tap.ok(after == f"{library}-gdb.py".removeprefix(str(root)), "beside the library's path", scripts[0], library)
    place = directory / "scripts" / str(root).lstrip("/")
    place.parent.mkdir(parents=True)
    place.symlink_to(f"{before}/auto-load")
    answers, output = gdb(program, ["break stop_here", "run", "info auto-load python-scripts", OWNERS],
                          "-iex", f"add-auto-load-scripts-directory {directory / 'scripts'}",
                          "-iex", f"add-auto-load-safe-path {before}", LD_LIBRARY_PATH=str(library.parent))
    tap.ok(re.search(r"Yes +\S*-gdb\.py", answers["info auto-load python-scripts"]) and "#1 'the main'" in answers[OWNERS],
           "gdb loads it from where it is installed", output)


def test_what_is_missing(program):
    source_it = ["source " + str(script)]
    answers, _ = gdb(program, [*source_it, OWNERS])
    says("before it runs", answers, OWNERS, "tether: the program is not running, and there is no core file")
    answers, _ = gdb("/bin/true", ["starti", *source_it, OWNERS])
    says("another program", answers, OWNERS, "tether: the program has not loaded libtether")

    for how in ("--strip-debug", "--strip-all"):
        stripped = directory / how
        stripped.mkdir()
        tap.must("objcopy", how, shared, stripped / "libtether.so.0")
        answers, output = gdb(program, ["break stop_here", "run", *source_it, OWNERS, "print mine->base.tether"],
                              LD_LIBRARY_PATH=str(stripped))
        says(how, answers, OWNERS, "tether: libtether has no debug information.*")
        says(how, answers, "print mine->base.tether", r"\$1 = conn, bound, owner 0x\w+")
        has_no_traces(how, output)


tap.must("gdb --version")
with tempfile.TemporaryDirectory() as name:
    directory = pathlib.Path(name).resolve()
    linked = compile_program("program.c", "gcc", shared, f"-Wl,-rpath,{shared.parent}")
    test_process_and_core(linked)
    test_what_is_running(linked)
    test_damage(linked)
    test_classes()
    test_installed(linked)
    test_what_is_missing(linked)
    shutil.move(linked, directory / "linked")
    test_embedded(compile_program("program.c", "gcc", *static_libraries()))
tap.done()
