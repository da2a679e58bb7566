# tap.py - what the build tests share: commands, and results that meson counts one by one (TAP).
# SPDX-License-Identifier: MIT
import shlex
import subprocess
import sys

count = 0
failed = 0


def ok(good, name, *details):
    """Report one result; the details are printed if it is bad."""
    global count, failed
    count += 1
    print(f"{'ok' if good else 'not ok'} {count} - {name}", flush=True)
    if not good:
        failed += 1
        for detail in details:
            for line in str(detail).splitlines():
                print(f"#     {line}", flush=True)
    return good


def skip(why):
    """Say loudly what is not tested, and why."""
    global count
    count += 1
    print(f"ok {count} - # SKIP {why}", flush=True)


def note(text):
    print(f"# {text}", flush=True)


def done():
    print(f"1..{count}")
    sys.exit(failed != 0)


def run(*command, **keywords):
    """Run a command given in pieces, each split as a shell would. Returns what subprocess.run does."""
    words = [word for piece in command for word in (shlex.split(piece) if isinstance(piece, str) else [str(piece)])]
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **keywords)


def headers_of_python():
    """What a compiler needs to find them, in Debian's interpreter; "": they are not there."""
    try:
        return must("/usr/bin/python3-config --includes").replace("-I", "-isystem ")
    except FileNotFoundError:
        return ""


def must(*command, **keywords):
    """Run a command without which the test makes no sense. Returns its output."""
    result = run(*command, **keywords)
    if result.returncode != 0:
        print(f"Bail out! {' '.join(map(str, command))}: {result.stdout}", flush=True)
        sys.exit(1)
    return result.stdout
