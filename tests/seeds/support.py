# support.py - what these tests share: threads, what was told and destroyed, results as TAP.
# SPDX-License-Identifier: MIT
import gc
import json
import linecache
import os
import subprocess
import sys
import threading
import time
import unittest

import seeds

PATIENCE_S = 60  # for what hangs; nothing measured depends on it


def elsewhere(function, *arguments):
    """Call it on a thread of its own, which has ended on return. Raises what that raises."""
    told, ids = [], []

    def run():
        ids.append(threading.get_native_id())
        try:
            told.append(("result", function(*arguments)))
        except BaseException as error:
            told.append(("error", error.with_traceback(None)))

    thread = threading.Thread(target=run, name="elsewhere")
    thread.start()
    thread.join(PATIENCE_S)
    assert told, "the thread has not ended"
    while os.path.exists(f"/proc/self/task/{ids[0]}"):
        time.sleep(.0001)  # join() does not wait for the system's thread, and so not for its owner's end
    kind, what = told.pop()
    if kind == "error":
        raise what
    return what


def take_reports(kind=None):
    """What was reported since the last call; of one kind, the others being wrong."""
    reports = [json.loads(line) for line in seeds.take_reports()]
    kinds = [report["kind"] for report in reports]
    assert kind is None or set(kinds) <= {kind}, kinds
    return reports


def line_of(path, number):
    return linecache.getline(path, number).strip()


class Test(unittest.TestCase):
    """Begins and ends quiet: what was reported and destroyed was expected."""

    def setUp(self):
        gc.collect()
        gc.disable()  # it runs where a test wants it to
        seeds.drain()
        seeds.drain_python()
        seeds.take_fates()
        seeds.take_reports()

    def tearDown(self):
        gc.enable()
        gc.collect()
        seeds.drain()
        seeds.drain_python()
        self.assertEqual(take_reports(), [])
        self.assertEqual(seeds.take_fates(), [])

    def assert_told(self, report, at, made="Protocol(", on="elsewhere"):
        """The report names who made it and where, who it was elsewhere and where (part of the line; None: in no script)."""
        self.assertEqual(report["owner"]["name"], "MainThread")
        self.assertEqual(report["owner"]["number"], seeds.self())
        self.assertRegex(report["thread"]["name"], on)
        self.assertNotEqual(report["thread"]["number"], seeds.self())
        path, line = report["object"]["label"].split(" in ")[0].split(":")
        self.assertIn("/" + path, "/" + sys.argv[0])
        self.assertIn(made, line_of(sys.argv[0], int(line)))
        frame = report["at"]["frames"][0]
        if at is None:
            self.assertFalse((frame["file"] or "").endswith(".py"), frame)
        else:
            self.assertIn(at, line_of(frame["file"], frame["line"]), frame)

    def assert_dies_at_home(self, serial, at):
        """It was let go elsewhere: detected, nothing destroyed yet; then once, by its owner, without the GIL."""
        reports = take_reports("foreign-drop")
        self.assertEqual(len(reports), 1)
        self.assert_told(reports[0], at)
        self.assertEqual(seeds.take_fates(), [])
        self.assertEqual(seeds.drain(), 1)
        self.assertEqual(seeds.take_fates(), [(serial, "closed", seeds.self(), False)])


class Tap(unittest.TestResult):
    """One line for each test as it ends."""

    def say(self, good, test, rest="", details=""):
        print(f"{'ok' if good else 'not ok'} {self.testsRun} - {test.id().removeprefix('__main__.')}{rest}", flush=True)
        for line in details.splitlines():
            print(f"#     {line}", flush=True)

    def addSuccess(self, test):
        self.say(True, test)

    def addFailure(self, test, error):
        self.say(False, test, details=self._exc_info_to_string(error, test))
        super().addFailure(test, error)

    addError = addFailure

    def addSkip(self, test, reason):
        self.say(True, test, f" # SKIP {reason}")


def child(code, **environment):
    """Run Python code in a process of its own, as its main module: status and standard error."""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)
    return done.returncode, done.stderr


def main():
    threading.current_thread().name = "MainThread"
    seeds.set_option("level", "warn")
    seeds.set_option("stall_ms", "0")
    seeds.catch_reports()
    tests = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    result = Tap()
    print(f"1..{tests.countTestCases()}", flush=True)
    tests.run(result)
    sys.exit(not result.wasSuccessful())
