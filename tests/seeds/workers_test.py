# workers_test.py - whose an object is in each of gunicorn's workers, forked before the application was imported or after.
# SPDX-License-Identifier: MIT
import concurrent.futures
import http.client
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import support

TOGETHER = 4  # requests that are served at a time, by threads or greenlets


class Gunicorn:
    """One worker on loopback, ended by its own pid. What waits in the socket is served when it is ready."""

    def __init__(self, worker, together, *options):
        self.file = tempfile.TemporaryFile("w+")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}", "--worker-class", worker,
                 "--workers", "1", "--chdir", os.path.dirname(os.path.abspath(__file__)), *options, "workers_app"],
                stdin=subprocess.DEVNULL, stdout=self.file, stderr=self.file, pass_fds=[listener.fileno()],
                env=os.environ | {"TETHER_OPTIONS": "level=warn:stall_ms=0", "TOGETHER": str(together)})

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=support.PATIENCE_S)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, (path, answer.status, body)
        return json.loads(body)

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        self.process.send_signal(signal.SIGINT)  # its quick end; on SIGTERM most workers sleep for a second
        try:
            self.status = self.process.wait(support.PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()
            self.file.seek(0)
            self.log = self.file.read()
            self.file.close()
        if error:
            raise AssertionError("gunicorn logged:\n" + self.log) from error


def needs(package):
    return unittest.skipUnless(importlib.util.find_spec(package), f"python3-{package} is not installed")


@needs("gunicorn")
class AWorker(unittest.TestCase):
    def check(self, worker, *options, threads=1, greenlets=1):
        """So many requests are served at a time. Several threads own what they make; one has it all."""
        together = threads * greenlets
        with Gunicorn(worker, together, *options) as self.server:
            self.check_requests(together, threads)
            self.check_shared(is_foreign=threads > 1)
            self.check_wrong()
            told = self.server.get("/told")
        self.assertEqual(told["reports"], [])
        self.assertEqual(told["pid"] != told["imported in"], "--preload" in options)
        self.assertEqual(self.server.status, 0, self.server.log)
        reports = 3 if threads > 1 else 2
        self.assertEqual(re.findall("tether: (.*)", self.server.log),
                         [f"at exit: {reports} reports, 0 repeats, 0 suppressed, 0 leaked, 0 pending"], self.server.log)

    def check_requests(self, together, threads):
        """Whoever else is served meanwhile: nothing to report."""
        with concurrent.futures.ThreadPoolExecutor(together) as clients:
            answers = list(clients.map(self.server.get, ["/together"] * together))
        told = self.server.get("/told")
        self.assertEqual([answer["said"] for answer in answers], [None] * together)
        self.assertEqual(len({answer["native"] for answer in answers}), threads)
        self.assertEqual(len({answer["owner"] for answer in answers}), threads, "an owner is a thread of the system's")
        self.assertEqual(len({answer["ident"] for answer in answers}), together, "which Python may see otherwise")
        self.assertEqual(told["reports"], [])
        self.assertEqual(sorted(told["fates"]),
                         sorted([answer["serial"], "closed", answer["owner"], True] for answer in answers))

    def check_shared(self, is_foreign):
        """What the main thread made on import, the threads of a pool may not use; greenlets of its own may."""
        said, told = self.server.get("/shared")["said"], self.server.get("/told")
        self.assertEqual([report["kind"] for report in told["reports"]], ["wrong-thread-use"] if is_foreign else [])
        self.assertEqual(said is not None, is_foreign, said)
        self.assertEqual(told["fates"], [])

    def check_wrong(self):
        answer, told = self.server.get("/wrong"), self.server.get("/told")
        self.assertEqual([report["kind"] for report in told["reports"]], ["wrong-thread-use", "foreign-drop"])
        for report in told["reports"]:
            self.assertEqual(report["owner"]["number"], answer["owner"])
            self.assertEqual(report["thread"]["number"], answer["elsewhere"])
            self.assertRegex(report["object"]["label"], r"^seeds/workers_app.py:\d+ in wrong$")
        self.assertIn(f"(owner #{answer['elsewhere']})", answer["said"])
        self.assertEqual((answer["destroyed there"], answer["drained"]), ([], 1))
        self.assertEqual(told["fates"], [[answer["serial"], "closed", answer["owner"], False]])

    def test_sync(self):
        self.check("sync")

    def test_sync_preloaded(self):
        self.check("sync", "--preload")

    def test_gthread(self):
        self.check("gthread", "--threads", str(TOGETHER), threads=TOGETHER)

    def test_gthread_preloaded(self):
        self.check("gthread", "--threads", str(TOGETHER), "--preload", threads=TOGETHER)

    @needs("gevent")
    def test_gevent(self):
        self.check("gevent", greenlets=TOGETHER)

    @needs("gevent")
    def test_gevent_preloaded(self):
        self.check("gevent", "--preload", greenlets=TOGETHER)

    @needs("eventlet")
    def test_eventlet(self):
        self.check("eventlet", greenlets=TOGETHER)

    @needs("eventlet")
    def test_eventlet_preloaded(self):
        self.check("eventlet", "--preload", greenlets=TOGETHER)


if __name__ == "__main__":
    support.main()
