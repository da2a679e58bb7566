#!/usr/bin/python3
# wsgi_test.py - the WSGI server from outside: it serves real applications, and what dies elsewhere comes home.
# SPDX-License-Identifier: MIT
# Usage: wsgi_test.py PACKAGE_DIR EXAMPLES_DIR
import importlib.util
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import tap

PACKAGE, HERE = sys.argv[1], pathlib.Path(__file__).resolve().parent
sys.path.insert(0, sys.argv[2])
import load  # pylint: disable=wrong-import-position
import plain_app  # pylint: disable=wrong-import-position

REQUESTS, THREADS = 400, 4
MADE = r"tether_wsgi/__init__\.py:\d+ in work"


def start(app, *options, **environment):
    return load.Server(PACKAGE, HERE, app, f"--threads={THREADS}", *options, **environment)


def ends_well(name, server, requests=None, **wanted):
    """Stop it: all came home, nothing is lost, nobody complains. Returns its counts and texts."""
    status, counts, out, errors = server.stop()
    n = counts.get("protocols", -1)
    good = (status == 0 and n >= 0 and counts["home"] + counts["inherited"] == n and requests in (None, n) and
            all(counts[zero] == 0 for zero in ("lost", "leaked", "pending", "destroyed_foreign")) and
            all(counts[key] == value for key, value in wanted.items()) and
            not any(word in errors for word in ("Exception ignored", "== tether:", "runtime error:")))
    tap.ok(good, name, f"status {status}", out[-2000:], errors[-4000:])
    return counts, out, errors


def application(name, packages, app, path, status, has_foreign, **environment):
    """Several hundred requests over four threads. `has_foreign`: is something let go on another thread? None: perhaps."""
    missing = [package for package in packages if not importlib.util.find_spec(package)]
    if missing:
        tap.skip(f"{name}: {', '.join(missing)} is not installed")
        return
    server = start(app, **environment)
    statuses = server.load(REQUESTS, THREADS, [path])
    tap.ok(statuses == {status: REQUESTS}, f"{name}: each is answered", statuses)
    counts, out, _ = ends_well(f"{name}: all come home", server, REQUESTS)
    places = re.findall(rf"tether_wsgi: (\d+) made at {MADE}, let go on another thread at (.*:\d+ in .*)\n", out)
    tap.note(f"{name}: {counts.get('foreign')} of {REQUESTS} let go on another thread, at {len(places)} places")
    tap.ok(has_foreign is None or (counts.get("foreign", -1) > 0) == has_foreign,
           f"{name}: {'some' if has_foreign else 'none'} let go on another thread", counts)
    tap.ok(sum(int(times) for times, _ in places) == counts.get("foreign"), f"{name}: places are named", out)


def applications():
    application("Flask 200", ["flask"], "flask_app:app", "/", 200, False)
    application("Flask 404", ["flask"], "flask_app:app", "/nowhere/{}", 404, True)
    application("Flask 500", ["flask"], "flask_app:app", "/fail", 500, True)
    application("Django 200", ["django"], "django_app", "/", 200, False)
    application("Django 500, DEBUG on", ["django"], "django_app", "/fail", 500, True, WSGI_DEBUG="1")
    application("Django 500, DEBUG off", ["django"], "django_app", "/fail", 500, None)
    application("Django 500, Sentry", ["django", "sentry_sdk"], "django_app", "/fail", 500, True, WSGI_SENTRY="1")


def answers():
    server = start("plain_app")
    tap.ok(server.get("/checked")[1] == b"checked", "wsgiref's validator has nothing to say")
    body = os.urandom(300000)
    tap.ok(server.get("/echo", method="POST", body=body)[1] == body, "a long body is read and sent whole")
    chunks = [b"one", b"two", b"three"]
    tap.ok(server.get("/echo", method="POST", body=iter(chunks), encode_chunked=True,
                      headers={"Transfer-Encoding": "chunked"})[1] == b"onetwothree", "a body in chunks, too")
    answer, body = server.get("/environ?a=%20b", headers={"X-One": "1", "X_Two": "2", "Content-Type": "text/x"})
    said = dict(line.split("=", 1) for line in body.decode().splitlines())
    wanted = {"REQUEST_METHOD": "GET", "PATH_INFO": "/environ", "QUERY_STRING": "a=%20b", "REMOTE_ADDR": "127.0.0.1",
              "SERVER_PORT": str(server.port), "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_X_ONE": "1", "CONTENT_TYPE": "text/x"}
    tap.ok(said.items() >= wanted.items() and "HTTP_X_TWO" not in said, "environ", said)
    tap.ok(len(server.get("/big?5000000")[1]) == 5000000, "five megabytes arrive")
    answer, body = server.get("/big?70000", method="HEAD")
    tap.ok((answer.status, answer.headers["Content-Length"], body) == (200, "70000", b""), "HEAD has no body")
    answer, body = server.get("/empty")
    tap.ok((answer.status, answer.headers["Content-Length"], body) == (204, None, b""), "204 has none, nor a length")
    answer, _ = server.get("/nothing", method="HEAD")
    tap.ok((answer.status, answer.headers["Content-Length"]) == (200, None), "HEAD has no length that the application has not told")
    answer, body = server.get("/change")
    tap.ok((answer.status, answer.headers["X-One"], body) == (503, None, b"later"), "an error's answer takes the other one's place")
    tap.ok(server.get("/header?100000")[0].status == 500, "a header that is too long is refused")
    said = server.get("/process")[1]
    tap.ok(said == str(-signal.SIGTERM).encode(), "a process that the application starts can be ended by a signal", said)
    tap.ok(server.get("/exit")[0].status == 500 and server.get("/")[0].status == 200, "sys.exit() ends a request only")
    tap.ok(server.get("/echo", method="POST", body=b"x" * (1 << 21))[0].status == 413, "too long a body is refused")
    tap.ok(server.get("/", headers={"Host": ""})[0].status == 200, "the server is still there")
    ends_well("after all this it ends well", server, foreign=0)


def answers_that_are_none():
    """What WSGI forbids an application never reaches the client, who could take it for the end of an answer."""
    server = start("plain_app")
    for name in plain_app.BAD:
        answer, body = server.get(f"/bad?{name}")
        tap.ok((answer.status, body) == (500, b"the application failed\n"), f"{name}: refused", answer.status, body)
    ends_well("after all these it ends well, too", server, len(plain_app.BAD), foreign=0)


def targets():
    """Where a request goes is in its first line, in one of several forms."""
    server = start("plain_app")
    for target, path, host in (("http://one/environ?a=b", "/environ", "one"), ("HTTP://one:81/environ?a=b", "/environ", "one:81"),
                               ("/environ?a=b", "/environ", "two")):
        status, _, body = send(server, f"GET {target} HTTP/1.1\r\nHost: two\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n".encode())
        said = dict(line.split("=", 1) for line in body.decode().splitlines())
        wanted = {"PATH_INFO": path, "QUERY_STRING": "a=b", "HTTP_HOST": host, "HTTP_COOKIE": "a=1; b=2"}
        tap.ok(status == 200 and said.items() >= wanted.items(), f"target {target}", said)
    tap.ok(send(server, b"GET http://one HTTP/1.1\r\nHost: two\r\n\r\n")[2].startswith(b"/ "), "a target without a path")
    ends_well("after these, too", server, 4, foreign=0)


def send(server, text):
    """These bytes, on a connection of their own, whose end is read. The first answer's status (None: there is none), header, body."""
    with socket.create_connection(("127.0.0.1", server.port), load.PATIENCE_S) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    header, _, body = answer.partition(b"\r\n\r\n")
    return (int(header.split()[1]) if answer else None), header, body


def requests_that_are_none():
    """What a server in front of us may understand otherwise, and what is no text, is refused; others are still served."""
    server, chunk = start("plain_app"), b"3\r\nabc\r\n0\r\n\r\n"
    coding = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
    for wanted, text in ((200, coding + b"chunked \r\n\r\n" + chunk),
                         (501, coding + b"gzip, chunked\r\n\r\n" + chunk),
                         (501, coding + b"identity\r\n\r\n" + chunk),
                         (400, coding + b"chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk),
                         (400, coding + b"chunked\r\nContent-Length: 3\r\n\r\n" + chunk),
                         (400, b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk),
                         (400, b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
                         *((400, b"GET / HTTP/1.1\r\nHost: a\r\nX-One: " + value + b"\r\nX-Two: 2\r\n\r\n")
                           for value in (b"\0", b"\0one", b"o\0ne", b"\x01one", b"\x7fone"))):
        status, *_ = send(server, text)
        tap.ok(status == wanted, f"{wanted}: {text[:90]}", status)
    tap.ok(send(server, b"GET / HTTP/1.0\r\n\r\n")[0] == 200, "an old request without a header is served")
    ends_well("after all these it ends well", server, 2, foreign=0)


def slow_clients():
    """Each is to have its answer whole, though it is the last one on its connection; its patience is longer than the linger's."""
    server, big = start("plain_app"), 30000000
    with socket.create_connection(("127.0.0.1", server.port), load.PATIENCE_S) as connection:
        connection.sendall(b"GET /big?%d HTTP/1.0\r\n\r\n" % big)
        time.sleep(3)
        answer = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    tap.ok(len(answer.partition(b"\r\n\r\n")[2]) == big, "who reads late gets all of it", len(answer))
    ends_well("slow clients lose nothing", server, 1, foreign=0)


def without_the_gil():
    """While the application has the GIL and keeps it, loops send, let go of what they have sent, and refuse."""
    server, big = start("plain_app"), 50000000
    connection = server.connect()
    connection.request("GET", f"/big?{big}")
    answer = connection.getresponse()
    with tempfile.TemporaryDirectory() as folder:
        fifo = os.path.join(folder, "fifo")
        os.mkfifo(fifo)
        hog = threading.Thread(target=server.get, args=(f"/hog?{fifo}",))
        hog.start()
        with open(fifo, "wb") as pipe:
            got = len(answer.read())
            refused = server.get("/", headers={"Host": "one", "host": "two"})[0].status
            pipe.write(b"x")
        hog.join()
    connection.close()
    tap.ok((got, refused) == (big, 400), "loops do not wait for the GIL", got, refused)
    ends_well("and nobody waits for what they let go of", server, 2, foreign=0)


def wrong_use():
    server = start("plain_app")
    text = server.get("/elsewhere")[1].decode()
    tap.ok("'stranger'" in text and "'pool-0'" in text, "a use on another thread is a RuntimeError that names both", text)
    status, counts, out, errors = server.stop()
    tap.ok(status == 0 and counts["lost"] == 0 and "plain_app.py" not in out, "it is no drop, and nothing is lost", out)
    tap.ok(re.search(rf"wrong-thread use: WSGIProtocol \"{MADE}\".*'stranger'", errors), "and a report, which names the place", errors)


def owners_that_go():
    """Two threads keep an exception each; one of them goes, as it is idle; the other lets both go."""
    server = start("plain_app", "--idle-ms=50", "--reports")
    askers = [threading.Thread(target=server.get, args=("/keep",)) for _ in range(2)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task")
    give_up = time.monotonic() + load.PATIENCE_S
    while time.monotonic() < give_up:
        threads = [(task / "comm").read_text().strip() for task in tasks.iterdir() if (task / "comm").exists()]
        if sum(thread.startswith("pool-") for thread in threads) == 1:
            break
        time.sleep(0.01)
    server.get("/forget")
    status, counts, out, errors = server.stop()
    tap.ok(status == 0 and (counts["foreign"], counts["inherited"], counts["home"], counts["lost"]) == (1, 1, 2, 0),
           "a thread that has gone has an heir", out, errors)
    tap.ok(re.search(rf"drop on another thread: WSGIProtocol \"{MADE}\".*belong.*'pool-\d+'", errors) and
           re.search(r"plain_app\.py:\d+", errors), "a report names where it was made, whose it was, and where it was let go", errors)


LONG = """
import sys, threading
held = []

def forget():
    held.clear()

def application(environ, start_response):
    thread, frame = threading.Thread(target=forget), sys._getframe(1)
    thread.start()
    thread.join()
    while "protocol" not in frame.f_locals:
        frame = frame.f_back
    held.append(frame.f_locals["protocol"])
    start_response("200 OK", [])
    return [b"held"]
"""


def long_paths():
    """A place is cut where its room ends, perhaps in the middle of a character."""
    for filler in "", "x":
        with tempfile.TemporaryDirectory() as top:
            folder = pathlib.Path(top, filler + "\u00fc" * 100)
            folder.mkdir()
            (folder / "long_app.py").write_text(LONG)
            server = load.Server(PACKAGE, folder, "long_app")
            server.load(3, 1, ["/"])
            status, counts, out, errors = server.stop()
            tap.ok(status == 0 and counts["lost"] == 0 and
                   re.search(rf"2 made at {MADE}, let go on another thread at {top}/{filler}\u00fc+", out),
                   f"a long path of {len(filler)} + 100 characters is named", status, out, errors)


def kept_for_ever():
    """What an application never lets go of holds up nothing."""
    server = start("plain_app")
    askers = [threading.Thread(target=server.get, args=("/keep",)) for _ in range(2)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    status, counts, out, _ = server.stop()
    tap.ok(status == 0 and (counts["protocols"], counts["kept"], counts["lost"]) == (2, 2, 0), "what Python keeps is counted as such", out)


def backpressure():
    server = start("plain_app", "--backpressure=2", "--io-threads=1")
    statuses = server.load(100, 8, ["/crowd"])
    most = server.get("/")[1].split()[1]
    tap.ok((statuses, most) == ({200: 100}, b"2"), "no more at once than --backpressure allows, and all have their turn",
           statuses, most)
    ends_well("held connections lose nothing", server, 101, foreign=0)


SIGNALS = """
import os, runpy, signal, sys
waits = 0

def trace(frame, event, argument):
    global waits
    waits += waits > 0 or (frame.f_code.co_name == "wait" and frame.f_code.co_filename.endswith("__main__.py"))
    if 0 < waits < 50:
        os.kill(os.getpid(), signal.SIGTERM)
    return trace

sys.settrace(trace)
runpy.run_module("tether_wsgi", run_name="__main__", alter_sys=True)
"""


def signals():
    """One after each line of Python that runs while it waits for one."""
    paths = os.pathsep.join([PACKAGE, str(HERE)])
    try:
        ran = subprocess.run([sys.executable, "-P", "-c", SIGNALS, "plain_app", "--port=0"], text=True, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=load.PATIENCE_S,
                             env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"})
        tap.ok(ran.returncode == 0 and " lost=0 " in ran.stdout, "a signal ends it whenever it comes", ran.returncode, ran.stdout)
    except subprocess.TimeoutExpired as error:
        tap.ok(False, "a signal ends it whenever it comes", error)


def refuses_port(name, port):
    status, _, _, errors = start("plain_app", f"--port={port}").wait()
    tap.ok(status == 1 and errors.startswith("tether_wsgi: cannot start: ") and errors.count("\n") == 1, name, status, errors)


def bounds():
    server = start("plain_app", "--requests=10")
    server.load(10, 2, ["/"])
    status, counts, _, _ = server.wait()
    tap.ok(status == 0 and counts["requests"] >= 10, "--requests ends it", status, counts)
    server = start("plain_app", "--seconds=1")
    tap.ok(server.wait()[0] == 0, "--seconds ends it")
    for arguments, said in ((["plain_app:nothing"], "cannot import plain_app:nothing"), (["no_such"], "No module named"),
                            (["plain_app", "--threads=0"], "0 is not in 1 to 64"), (["plain_app", "--threads=x"], "invalid number"),
                            (["plain_app:kept"], "cannot be called"), (["plain_app", "--backpressure=1"], "no less than --io-threads")):
        status, _, _, errors = start(*arguments).wait()
        tap.ok(status == 2 and said in errors and "Traceback" not in errors, f"{' '.join(arguments)}: {said}", status, errors)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refuses_port("a port that is taken: one line says so", taken.getsockname()[1])
    server = start("plain_app")
    refuses_port("also by a server of this kind", server.port)
    tap.ok(server.load(100, 10, ["/"]) == {200: 100}, "which shares it with nobody")
    ends_well("a server that others wanted to be ends well", server, 100, foreign=0)
    again = start("plain_app", f"--port={server.port}")
    tap.ok(again.port == server.port, "a port is free again when its server has gone", again.first_line)
    ends_well("a server that was asked nothing ends well", again, 0)


for test in (answers, answers_that_are_none, targets, requests_that_are_none, slow_clients, without_the_gil, wrong_use,
             owners_that_go, long_paths, kept_for_ever, backpressure, signals, bounds, applications):
    test()
tap.done()
