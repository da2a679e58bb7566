# platform_test.py - which wake-up an owner gets, whatever was patched, imported or forbidden before: the kernel is asked.
# SPDX-License-Identifier: MIT
# Usage: platform_test.py WITHOUT, the program that runs another on a kernel that refuses eventfd, or pipes as well.
import errno
import os
import subprocess
import sys

import support

WITHOUT = sys.argv.pop(1)

# A thread of the system's, whatever `threading` is by now, lets go of a protocol of this one; this one is told, and drains.
CHECK = """
import select, sys, seeds
seeds.catch_reports()
fd, how = seeds.inbox()
print(fd if fd < 0 else 'fd', how)
box = [seeds.Protocol()]
serial = box[0].serial
started = run_on_a_thread(box.clear)
if fd >= 0:
    wait_readable(fd)
else:
    started()
assert seeds.drain() == 1
assert [fate[:3] for fate in seeds.take_fates()] == [(serial, 'closed', seeds.self())]
import json
print(*[json.loads(report)['verdict'].split(':')[0] for report in seeds.take_reports()], sep='; ')
"""
PLAIN = """
def run_on_a_thread(function):
    import threading
    thread = threading.Thread(target=function)
    thread.start()
    return thread.join
def wait_readable(fd):
    import select
    assert select.select([fd], [], [], 60)[0]
"""
GEVENT = """
import gevent.monkey
gevent.monkey.patch_all()
def run_on_a_thread(function):
    import gevent
    return gevent.get_hub().threadpool.spawn(function).get
def wait_readable(fd):
    import gevent.socket
    gevent.socket.wait_read(fd, 60)
"""
EVENTLET = """
import eventlet, eventlet.tpool
eventlet.monkey_patch()
def run_on_a_thread(function):
    return eventlet.spawn(eventlet.tpool.execute, function).wait
def wait_readable(fd):
    import eventlet.hubs
    eventlet.hubs.trampoline(fd, read=True, timeout=60)
"""
LOCUST = "import locust\n" + GEVENT


class Platform(support.Test):
    def run_check(self, prelude, *without):
        done = subprocess.run([*without, sys.executable, "-c", prelude + CHECK], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=support.PATIENCE_S,
                              env=os.environ | {"TETHER_OPTIONS": "level=warn:stall_ms=0:exit_summary=0"})
        if done.returncode == 77:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()

    def check_with(self, package, prelude):
        if subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True).returncode != 0:
            self.skipTest(f"python3-{package} is not installed")
        self.assertEqual(self.run_check(prelude), ["fd eventfd", "drop on another thread"])

    def test_as_it_is(self):
        self.assertEqual(self.run_check(PLAIN), ["fd eventfd", "drop on another thread"])

    def test_patched_by_gevent(self):
        self.check_with("gevent", GEVENT)

    def test_patched_by_eventlet(self):
        self.check_with("eventlet", EVENTLET)

    def test_after_import_locust(self):
        self.check_with("locust", LOCUST)

    def test_without_eventfd_a_pipe_is_found(self):
        self.assertEqual(self.run_check(PLAIN, WITHOUT, "eventfd"), ["fd pipe", "drop on another thread"])

    def test_with_all_of_it_forbidden_an_error_says_so(self):
        self.assertEqual(self.run_check(PLAIN, WITHOUT, "wakes"),
                         [f"-{errno.EPERM} none", "no descriptor for the inbox; drop on another thread"])


if __name__ == "__main__":
    support.main()
