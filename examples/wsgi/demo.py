#!/usr/bin/python3
# demo.py - a flood of pages that do not exist, with payloads destroyed where Python lets go, and at home.
# SPDX-License-Identifier: MIT
# Usage: demo.py PACKAGE_DIR [REQUESTS]. Its last line is for machines; the exit status is 0 if nothing was lost.
import pathlib
import sys

import load

THREADS = 4
SHOWN = 4


def flood(package, requests, *options):
    server = load.Server(package, pathlib.Path(__file__).parent, "demo_app:app", f"--threads={THREADS}", *options)
    statuses = server.load(requests, THREADS, ["/nowhere/{}"])
    status, counts, out, errors = server.stop()
    if statuses != {404: requests} or status != 0 or counts["protocols"] != requests:
        sys.exit(f"demo-python: this cannot be: {statuses}, status {status}\n{out}\n{errors}")
    return counts, out.splitlines()[:-1], errors.splitlines()


def show(lines):
    for line in lines[:SHOWN]:
        print(f"   | {line}")
    if len(lines) > SHOWN:
        print(f"   | ... and {len(lines) - SHOWN} more")


def main():
    package, requests = sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 400
    print(f"""1. A Flask application answers {requests} requests for pages that do not exist, on {THREADS} threads.

   Flask raises an exception for each, which ends in a reference cycle with the frames that it went through, and so
   with the server's. The WSGIProtocol in there dies on whichever thread collects next. As with any type that knows
   nothing of threads, its destructor runs there, beside the thread it belongs to:
""")
    without, _, named = flood(package, requests, "--not-deferred")
    named = [line for line in named if line.startswith("foreign: ")]
    show(named)
    print(f"""
   destructors run: {requests}, of them on a foreign thread: {without["destroyed_foreign"]}

2. The same with tp_dealloc calling tether_drop(): the object is let go on other threads as before, here:
""")
    with_, places, _ = flood(package, requests)
    show([line.removeprefix("tether_wsgi: ") for line in places])
    print(f"""
   let go on a foreign thread: {with_["foreign"]}
   destructors run: {requests}, at home: {with_["home"]}, by the heir of a thread that has ended: {with_["inherited"]}, \
on a foreign thread: {with_["destroyed_foreign"]}
""")
    if len(named) != without["destroyed_foreign"] or without["destroyed_foreign"] == 0 or with_["foreign"] == 0:
        sys.exit("demo-python: a count that cannot be")
    lost = without["lost"] + with_["lost"]
    print(f"demo-python: requests={2 * requests} foreign_without={without['destroyed_foreign']} "
          f"foreign_with={with_['destroyed_foreign']} lost={lost}")
    sys.exit(lost != 0 or with_["destroyed_foreign"] != 0)


if __name__ == "__main__":
    main()
