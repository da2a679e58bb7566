#!/usr/bin/python3
# soak.py - load from real clients, in bursts: wrk and Locust ask for a mix of pages; between them threads go.
# SPDX-License-Identifier: MIT
# Usage: soak.py PACKAGE_DIR [SECONDS]. Memory stays flat, and at the end each count is balanced.
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "examples/wsgi"), str(ROOT / "tests/build")]
import load  # pylint: disable=wrong-import-position
import tap  # pylint: disable=wrong-import-position

PACKAGE, SECONDS = sys.argv[1], float(sys.argv[2]) if sys.argv[2:] else 30
BURSTS, THREADS, WARM = 6, 4, 2
GROWTH_KIB = 8192  # what the allocators may still find to keep after the first bursts


def wrk(url, seconds):
    ran = subprocess.run(["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", HERE / "mix.lua", url], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return int(re.search(r"(\d+) requests in", ran.stdout)[1]), not re.search(r"Socket errors", ran.stdout), ran.stdout


def locust(url, seconds):
    # Its own limit counts from before it has started, which may take that long.
    with subprocess.Popen([sys.executable, "-m", "locust", "-f", HERE / "locustfile.py", "--headless", "-u", "8", "-r", "8",
                           "--host", url, "--only-summary"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as process:
        said = ""
        while "All users spawned" not in said and (line := process.stdout.readline()):
            said += line
        time.sleep(seconds)
        process.terminate()
        said += process.stdout.read()
        status = process.wait(load.PATIENCE_S)
    found = re.search(r"Aggregated\s+(\d+)\s+(\d+)\(", said)
    return (int(found[1]) if found else 0), status == 0 and bool(found) and found[2] == "0", said


def resident_kib(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


def pool_threads(server):
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task")
    return [task for task in tasks.iterdir() if (task / "comm").read_text().startswith("pool-")]


def wait_until_idle(server):
    """All pool threads have gone but one."""
    give_up = time.monotonic() + load.PATIENCE_S
    while time.monotonic() < give_up:
        try:
            if len(pool_threads(server)) == 1:
                return True
        except FileNotFoundError:
            pass  # it went just now
        time.sleep(0.02)
    return False


def main():
    clients = [wrk] if shutil.which("wrk") else []
    clients += [locust] if importlib.util.find_spec("locust") else []
    for name in {"wrk", "locust"} - {client.__name__ for client in clients}:
        tap.skip(f"{name} is not installed")
    server = load.Server(PACKAGE, HERE, "flask_app:app", f"--threads={THREADS}", "--idle-ms=200",
                         f"--seconds={int(SECONDS) + 300}")
    url, kib, asked = f"http://127.0.0.1:{server.port}", [], 0
    for burst in range(BURSTS if clients else 0):
        client = clients[burst % len(clients)]
        answered, is_good, said = client(url, max(1, round(SECONDS / BURSTS)))
        asked += answered
        tap.ok(answered > 0 and is_good, f"burst {burst}: {client.__name__} is answered as it expects", said)
        tap.ok(wait_until_idle(server), f"burst {burst}: threads go when they are idle")
        kib.append(resident_kib(server))
        tap.note(f"{client.__name__}: {answered} answers; {kib[-1]} KiB resident")
    status, counts, out, errors = server.stop()
    tap.note(out.splitlines()[-1])
    tap.ok(status == 0 and counts["protocols"] >= asked and counts["protocols"] == counts["requests"] and
           counts["home"] + counts["inherited"] == counts["protocols"] and
           not any(counts[zero] for zero in ("lost", "leaked", "pending", "destroyed_foreign")), "each count is balanced", out)
    tap.ok(counts["foreign"] > 0 and counts["threads"] >= len(kib) * 2, "objects and threads came and went", counts)
    tap.ok("Exception ignored" not in errors and "== tether:" not in errors, "nobody complains",
           *re.findall(r".*(?:Exception ignored|== tether:).*", errors))
    tap.ok(len(kib) > WARM and max(kib[WARM:]) < kib[WARM - 1] + GROWTH_KIB, "memory is flat", kib)
    tap.done()


if __name__ == "__main__":
    main()
