# load.py - start the server, ask it from several threads, stop it, read its counts: for the demo and the tests.
# SPDX-License-Identifier: MIT
import collections
import http.client
import os
import pathlib
import re
import subprocess
import sys
import threading

PATIENCE_S = 120  # for a server that hangs; nothing measured depends on it


class Server:
    """python3 -m tether_wsgi, of a package that lies in `package`, with applications found in `folder`."""

    def __init__(self, package, folder, app, *options, **environment):
        paths = os.pathsep.join([str(pathlib.Path(package).resolve()), str(folder)])
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tether_wsgi", app, "--port=0", f"--seconds={2 * PATIENCE_S}", *options], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"} | environment)
        self.errors = []  # read all the time: it may be more than a pipe holds
        self.reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr))
        self.reader.start()
        self.first_line = self.process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", self.first_line)
        self.port = int(found[1]) if found else 0

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def get(self, path, **named):
        """Ask once, on a connection of its own. The answer and its body."""
        connection = self.connect()
        connection.request(named.pop("method", "GET"), path, **named)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def load(self, requests, threads, paths):
        """Ask so often, from so many threads, each with its own connection. How often each status came."""
        if not self.port:
            raise RuntimeError("the server did not start: " + "".join(self.wait()[3]))
        statuses = collections.Counter()

        def ask(number):
            connection = self.connect()
            for i in range(number, requests, threads):
                connection.request("GET", paths[i % len(paths)].format(i))
                answer = connection.getresponse()
                answer.read()
                statuses[answer.status] += 1
            connection.close()

        askers = [threading.Thread(target=ask, args=(number,)) for number in range(threads)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        return statuses

    def stop(self):
        """Have it end. Its status, counts, all that it wrote to standard output, and to standard error."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait()

    def wait(self):
        try:
            out = self.process.stdout.read()
            status = self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
        self.reader.join()
        last = out.splitlines()[-1] if out else ""
        counts = {name: int(value) for name, value in re.findall(r" (\w+)=(\d+)", last)}
        return status, counts, out, "".join(self.errors)
