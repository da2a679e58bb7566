#!/usr/bin/python3
# golden.py - each planted bug of the web server gives the report that is kept here: golden.py HTTPD COMPILER [--update]
# SPDX-License-Identifier: MIT
#
# What differs from run to run is masked: numbers of lines, addresses, owners and threads, ages, ports. What
# remains is what a reader needs: which function of which file did what to what, whose it was, what to do.
import difflib
import os
import pathlib
import re
import subprocess
import sys

HTTPD, COMPILER = os.path.abspath(sys.argv[1]), sys.argv[2]
ROOT = pathlib.Path(__file__).resolve().parents[2]
HTTPD_SOURCES = ROOT / "examples/httpd"
GOLDEN = pathlib.Path(__file__).resolve().parent / "golden" / COMPILER
# Each bug, and the lines of the server that its report must name: the ones a reader has to find.
BUGS = {
    "touch-from-worker": ["conn_is_open(j->conn);"],
    "destroy-on-worker": ["conn_destroy(j->conn);"],
    "use-after-drop": ['request_is_for(r, "/");', "request_unref(r);"],
    "double-drop": ["tether_drop(&r->tether);"],
    "owner-exits": ["tether_drop(&r->tether);"],
}
MASKS = [
    (r"==\d+==", "==PID=="),
    (r"'(loop|pool)-\d+'", r"'\1-N'"),
    (r"(loop|pool)-\d+", r"\1-N"),
    (r"owner #\d+", "owner #N"),
    (r"tid \d+", "tid N"),
    (r"thread \d+, which", "thread N, which"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"0x[0-9a-f]+", "0xN"),
    (r"(\.[ch]):\d+", r"\1:LINE"),
    (r"\d+\.\d+ (us|ms|s) ago", "AGE ago"),
    (r"\d+ bytes", "N bytes"),
    (r"drained (just now|AGE ago|0 ns ago), \d+ pending, .*", "drained AGE ago, N pending, DOING"),
    (r"never drained, \d+ pending, .*", "drained AGE ago, N pending, DOING"),
    (r"\.so\.[\d.]+", ".so"),
    (r"(#\d+ \S+) {2,}", r"\1 "),
    # What the thread was started by, which has names where the C library has debugging information.
    (r"(?m)^    #\d+ .*(libc\.so|nptl/|clone).*\n", ""),
    # The drop that came first may not have been handled yet.
    (r"(?m)^    destroyed .*\n", ""),
    (r"(?m)^  Modules: .*", "  Modules: ..."),
]


def masked(text):
    for pattern, instead in MASKS:
        text = re.sub(pattern, instead, text)
    return text


def lines_named(report):
    """The text of each line of the server that a report names."""
    sources = HTTPD_SOURCES.glob("*.c")
    lines = {source.name: source.read_text().splitlines() for source in sources}
    named = re.findall(r"(\w+\.c):(\d+)", report)
    return {lines[name][int(line) - 1].strip() for name, line in named if name in lines}


def report_of(bug):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TETHER_")}
    done = subprocess.run([HTTPD, "--port=0", "--seconds=60", f"--bug={bug}", "--once"], capture_output=True, text=True,
                          timeout=100, check=False, env=environment, cwd=ROOT)
    found = re.search(r"^==\d+== tether: .*?^SUMMARY: .*?\n", done.stderr, re.MULTILINE | re.DOTALL)
    return found[0] if found else f"no report: {done.stderr}"


print(f"1..{len(BUGS)}")
failed = 0
for number, (bug, guilty) in enumerate(BUGS.items(), 1):
    whole = report_of(bug)
    kept, report = GOLDEN / f"{bug}.txt", masked(whole)
    if sys.argv[3:] == ["--update"]:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(report)
    wanted = kept.read_text() if kept.exists() else ""
    missing = set(guilty) - lines_named(whole)
    is_good = report == wanted and not missing
    failed += not is_good
    print(f"{'ok' if is_good else 'not ok'} {number} - {bug}", flush=True)
    for line in [] if is_good else difflib.unified_diff(wanted.splitlines(), report.splitlines(), "wanted", "got", lineterm=""):
        print(f"#     {line}")
    for line in missing:
        print(f"#     it does not name the line: {line}")
sys.exit(failed > 0)
