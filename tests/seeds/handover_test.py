# handover_test.py - gunicorn hands its listening socket over, by fork and by exec, on a kernel that knows no SO_PROTOCOL.
# SPDX-License-Identifier: MIT
# Usage: handover_test.py SHIM, which is loaded before the C library, and refuses SO_PROTOCOL with ENOPROTOOPT.
import errno
import http.client
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import support

SHIM = sys.argv.pop(1)
GUNICORN = "/usr/bin/gunicorn"
# A TCP socket, whose protocol is not known: no guess. It is ours.
UNKNOWN = [True, socket.AF_INET, socket.SOCK_STREAM, None, True]


def ask(port):
    """The pid of who answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=support.PATIENCE_S)
    connection.request("GET", "/")
    pid = int(connection.getresponse().read())
    connection.close()
    return pid


@unittest.skipUnless(os.access(GUNICORN, os.X_OK), "gunicorn is not installed")
class HandOver(support.Test):
    def setUp(self):
        super().setUp()
        self.masters = set()  # those that we have to end
        self.errors = tempfile.NamedTemporaryFile("r")  # opened anew by who writes, whose place in it we would move
        self.ear, mouth = os.pipe()
        self.unread = b""
        self.environment = os.environ | {
            "LD_PRELOAD": SHIM, "TELL": str(mouth), "TETHER_OPTIONS": "level=warn:stall_ms=0:exit_summary=0"}
        self.mouth = mouth

    def tearDown(self):
        for pid in self.masters:
            os.kill(pid, signal.SIGTERM)
        if self.mouth is not None:
            os.close(self.mouth)
        while self.read():  # until all of them have ended
            pass
        os.close(self.ear)
        self.gunicorn.wait(support.PATIENCE_S)
        self.assertNotIn("== tether: ", self.said(), "something was reported")
        self.errors.close()
        super().tearDown()

    def start(self, *arguments):
        here = os.path.dirname(os.path.abspath(__file__))
        command = [sys.executable, GUNICORN, "-c", os.path.join(here, "handover_app.py"), "--pythonpath", here]
        with open(self.errors.name, "a") as errors:
            self.gunicorn = subprocess.Popen([*command, *arguments, "handover_app:app"], env=self.environment, stdin=subprocess.DEVNULL,
                                             pass_fds=[self.mouth], stdout=subprocess.DEVNULL, stderr=errors)
        os.close(self.mouth)
        self.mouth = None
        self.masters.add(self.gunicorn.pid)

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def read(self):
        if not select.select([self.ear], [], [], support.PATIENCE_S)[0]:
            for pid in self.masters:
                os.kill(pid, signal.SIGKILL)
            self.fail(f"nothing was told, and not all have ended: {self.said()}")
        return os.read(self.ear, 4096)

    def told(self, workers):
        """What as many workers say of the socket they were given, as it comes."""
        while self.unread.count(b"\n") < workers:
            part = self.read()
            self.assertTrue(part, self.said())
            self.unread += part
        *lines, self.unread = self.unread.split(b"\n", workers)
        told = [json.loads(line) for line in lines]
        self.masters |= {worker["master"] for worker in told}
        return told

    def check_adopted(self, workers):
        for worker in workers:
            self.assertEqual(worker["adopted"], UNKNOWN)
            self.assertEqual(worker["python"], errno.ENOPROTOOPT, "what Python makes of it")
        self.assertEqual(len({worker["pid"] for worker in workers}), len(workers))
        (master, port), = {(worker["master"], worker["port"]) for worker in workers}
        return master, port

    def test_a_socket_passed_by_fork_is_adopted_in_each_worker(self):
        self.start()
        workers = self.told(2)
        master, port = self.check_adopted(workers)
        self.assertEqual(master, self.gunicorn.pid)
        self.assertIn(ask(port), [worker["pid"] for worker in workers])

    def test_a_socket_handed_over_to_another_gunicorn_is_adopted_there(self):
        self.start()
        _, port = self.check_adopted(self.told(2))
        os.kill(self.gunicorn.pid, signal.SIGUSR2)
        workers = self.told(2)
        heir, same_port = self.check_adopted(workers)
        self.assertNotEqual(heir, self.gunicorn.pid)
        self.assertEqual(same_port, port)
        self.gunicorn.terminate()
        self.gunicorn.wait(support.PATIENCE_S)
        self.masters.remove(self.gunicorn.pid)
        self.assertIn(ask(port), [worker["pid"] for worker in workers])

    @unittest.skipUnless(importlib.util.find_spec("gevent"), "python3-gevent is not installed")
    def test_where_gunicorn_with_gevent_fails_the_adoption_does_not(self):
        self.start("--worker-class", "gevent", "--workers", "1")
        self.check_adopted(self.told(1))
        self.assertEqual(self.gunicorn.wait(support.PATIENCE_S), 3, "its worker has not booted")
        self.masters.clear()
        self.assertIn(f"[Errno {errno.ENOPROTOOPT}]", self.said())


if __name__ == "__main__":
    support.main()
