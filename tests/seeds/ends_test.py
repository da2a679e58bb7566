# ends_test.py - owners, interpreters and processes that end before what belongs to them does.
# SPDX-License-Identifier: MIT
import os
import re
import sys
import threading
import traceback

import seeds
import support
from support import elsewhere


def make(box, **keywords):
    """In a thread that has ended on return: its number, and the object's."""
    def run():
        box.append(seeds.Protocol(**keywords))
        return box[0].serial, seeds.self()
    return elsewhere(run)


class TheOwnerHasExited(support.Test):
    def clear(self, box):
        """Lets it go on the main thread; returns what was reported."""
        box.clear()
        reports = support.take_reports()
        self.assertEqual(reports[0]["kind"], "foreign-drop")
        self.assertEqual(reports[0]["owner"]["name"], "elsewhere")
        self.assertFalse(reports[0]["owner"]["alive"])
        self.assertIn("ends_test.py", reports[0]["object"]["label"])
        self.assertIn("box.clear()", support.line_of(sys.argv[0], reports[0]["at"]["frames"][0]["line"]))
        return reports[1:]

    def test_and_its_type_says_leak(self):
        box = []
        make(box)
        leaked, = self.clear(box)
        self.assertEqual(leaked["kind"], "leaked")
        self.assertIn("ends_test.py", leaked["object"]["label"])
        self.assertEqual(seeds.take_fates(), [])

    def test_and_its_type_says_anywhere(self):
        box = []
        serial, _ = make(box, orphan="anywhere")
        self.assertEqual(self.clear(box), [])
        self.assertEqual(seeds.take_fates(), [(serial, "closed", seeds.self(), True)])

    def test_and_its_type_names_an_heir(self):
        box = []
        serial, _ = make(box, orphan="heir")
        go, is_ready = threading.Event(), threading.Event()

        def inherit():
            seeds.set_heir()
            is_ready.set()
            go.wait(support.PATIENCE_S)
            return seeds.drain()

        told = []
        thread = threading.Thread(target=lambda: told.extend([seeds.self(), inherit()]))
        thread.start()
        is_ready.wait(support.PATIENCE_S)
        self.assertEqual(self.clear(box), [])
        self.assertEqual(seeds.take_fates(), [])
        go.set()
        thread.join()
        self.assertEqual(told[1], 1)
        self.assertEqual(seeds.take_fates(), [(serial, "closed", told[0], False)])

    def test_after_it_was_let_go(self):
        """What is pending for a thread that ends is destroyed by it, without the GIL."""
        box, is_made, go = [], threading.Event(), threading.Event()
        owner = []

        def run():
            box.append(seeds.Protocol())
            owner.append(seeds.self())
            is_made.set()
            go.wait(support.PATIENCE_S)

        thread = threading.Thread(target=run)
        thread.start()
        is_made.wait(support.PATIENCE_S)
        serial = box[0].serial
        box.clear()
        self.assertEqual(len(support.take_reports("foreign-drop")), 1)
        self.assertEqual(seeds.take_fates(), [])
        go.set()
        thread.join()
        fates = []
        while not fates:  # Python's join does not wait for the end of the system's thread
            fates = seeds.take_fates()
        self.assertEqual(fates, [(serial, "closed", owner[0], False)])


class Fork(support.Test):
    def in_child(self, check):
        """Run it in a child of this process; what fails there fails here."""
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                check()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)

    def test_what_the_forking_thread_made_is_its_own_in_both(self):
        box = [seeds.Protocol(finish=lambda: None)]
        serial = box[0].serial

        def end():
            box[0].use()
            box.clear()
            seeds.drain_python()
            fates = seeds.take_fates()
            self.assertEqual([fate[:3] for fate in fates],
                             [(serial, "closed", seeds.self()), (serial, "finished", seeds.python())])
            self.assertEqual(support.take_reports(), [])

        self.in_child(end)
        self.assertEqual(seeds.take_fates(), [])
        end()

    def test_what_was_on_its_way_is_destroyed_once_in_each(self):
        box = [seeds.Protocol()]
        serial = box[0].serial
        elsewhere(box.clear)
        self.assertEqual(len(support.take_reports("foreign-drop")), 1)

        def end():
            self.assertEqual(seeds.drain(), 1)
            self.assertEqual(seeds.take_fates(), [(serial, "closed", seeds.self(), False)])

        self.in_child(end)
        end()

    def test_what_another_thread_made_has_lost_its_owner_in_the_child(self):
        box, is_made, go = [], threading.Event(), threading.Event()

        def run():
            box.append(seeds.Protocol())
            is_made.set()
            go.wait(support.PATIENCE_S)
            box.clear()

        def check():
            with self.assertRaisesRegex(RuntimeError, "did not survive the fork"):
                box[0].use()
            box.clear()
            reports = support.take_reports()
            self.assertEqual([report["kind"] for report in reports], ["wrong-thread-use", "foreign-drop", "leaked"])
            for report in reports:
                self.assertIn("did not survive the fork", report["verdict"])
            self.assertEqual(seeds.take_fates(), [])

        thread = threading.Thread(target=run)
        thread.start()
        is_made.wait(support.PATIENCE_S)
        serial = box[0].serial
        self.in_child(check)
        go.set()
        thread.join()
        self.assertEqual([fate[:2] for fate in seeds.take_fates()], [(serial, "closed")])

    def test_while_the_interpreters_owner_is_taken(self):
        """The thread inside is not in the child, where the interpreter gets another owner."""
        is_in, may_end = threading.Event(), threading.Event()

        def wait():
            is_in.set()
            may_end.wait(support.PATIENCE_S)

        def run():
            seeds.Protocol(finish=wait)
            seeds.drain_python()

        def check():
            seeds.take_fates()
            serial = seeds.Protocol(finish=lambda: None).serial
            seeds.drain_python()
            self.assertIn((serial, "finished", seeds.python(), True), seeds.take_fates())

        thread = threading.Thread(target=run)
        thread.start()
        is_in.wait(support.PATIENCE_S)
        self.in_child(check)
        may_end.set()
        thread.join()
        self.assertEqual(len(seeds.take_fates()), 2)


BEGIN = "import sys, threading, time, seeds; seeds.be_loud()\n"


class Shutdown(support.Test):
    """Each in a process of its own, which ends, and says on standard error what became of what."""

    def run_child(self, code):
        status, told = support.child(BEGIN + code, TETHER_OPTIONS="level=warn:stall_ms=0")
        if status == 77:
            self.skipTest("this Python cannot: " + told)
        self.assertEqual(status, 0, told)
        return told

    def assert_once(self, told, what):
        """Those of which this is told, and of none twice."""
        serials = [int(serial) for serial in re.findall(rf"^(\d+) {what} ", told, re.MULTILINE)]
        self.assertEqual(len(serials), len(set(serials)), told)
        return set(serials)

    def count(self, told, pattern):
        return len(re.findall(pattern, told, re.MULTILINE))

    def test_what_the_main_thread_made_dies_with_the_interpreter(self):
        told = self.run_child("kept = seeds.Protocol(); sys.kept = kept")
        self.assertEqual(self.count(told, r"^1 closed by #1$"), 1, told)

    def test_what_needs_the_gil_is_finished_before_it_is_too_late(self):
        told = self.run_child("kept = seeds.Protocol(finish=lambda write=sys.stderr.write: write('called\\n'))")
        self.assertEqual(self.count(told, "^1 closed"), 1, told)
        self.assertEqual(self.count(told, "^1 finished by .*\ncalled$"), 1, told)

    def test_what_comes_later_than_that_is_leaked_and_told(self):
        """What hangs on `sys` is the last to go."""
        told = self.run_child("def make(): sys.kept = seeds.Protocol(finish=print)\n"
                              "make()\n")
        self.assertEqual(self.count(told, "^1 closed"), 1, told)
        self.assertEqual(self.count(told, "^1 finished"), 0, told)
        self.assertEqual(self.count(told,
                                    "tether: leak: its owner has gone: .*\"<string>:2 in make\" belonged to 'python'"), 1, told)

    def test_what_dies_when_there_are_no_modules_any_more_is_told(self):
        """On a thread that nobody has met: what it is called cannot be asked any more."""
        told = self.run_child("import contextvars\n"
                              "box, variable = [], contextvars.ContextVar('variable')\n"
                              "def run(): box.append(seeds.Protocol(orphan='anywhere')); seeds.exit_owner()\n"
                              "thread = threading.Thread(target=run); thread.start(); thread.join()\n"
                              "variable.set(box.pop())\n")
        self.assertEqual(self.count(told, r"^1 closed by #2$"), 1, told)
        self.assertEqual(self.count(told, "tether: drop on another thread: Protocol \"<string>:4 in run\""), 1, told)

    def test_a_daemon_thread_in_the_middle_of_python_does_not_hang(self):
        told = self.run_child("def run():\n"
                              "    kept = [seeds.Protocol() for _ in range(10)]\n"
                              "    while True: kept[:] = kept[1:] + [seeds.Protocol()]; time.sleep(.0001)\n"
                              "threading.Thread(target=run, daemon=True).start(); time.sleep(.05)\n")
        self.assert_once(told, "closed")

    def test_a_native_thread_that_ends_inside_pygilstate_ensure_does_not_hang(self):
        """What it made and somebody kept is destroyed by it, as long as it is there; else it is leaked and told."""
        told = self.run_child("box = []\n"
                              "seeds.start_native(box)\n"
                              "while len(box) < 100: time.sleep(.001)\n"
                              "sys.kept = box\n")
        closed = [serial for serial in self.assert_once(told, "closed") if serial <= 100]
        leaked = self.count(told, "tether: leak: its owner has gone: Protocol")
        pending = re.search(r"(\d+) pending$", told)
        self.assertEqual(len(closed) + leaked + int(pending[1] if pending else 0), 100, told)

    def test_a_thread_that_lets_go_while_the_interpreter_ends(self):
        told = self.run_child("import queue\n"
                              "jobs = queue.Queue()\n"
                              "def run():\n"
                              "    while True: jobs.get()\n"
                              "threading.Thread(target=run, daemon=True).start()\n"
                              "for _ in range(1000): jobs.put(seeds.Protocol(finish=lambda: None)); seeds.drain()\n")
        self.assertLessEqual(self.assert_once(told, "finished"), self.assert_once(told, "closed"))


    def test_a_subinterpreter_has_an_owner_of_its_own_which_ends_with_it(self):
        """In this process it would switch off PyGILState_Check()."""
        told = self.run_child("try: import _xxsubinterpreters as subinterpreters\n"
                              "except ImportError: sys.exit(77)\n"
                              "other = subinterpreters.create()\n"
                              "subinterpreters.run_string(other, f'import sys; sys.path = {sys.path}; import seeds\\n'\n"
                              "    'seeds.Protocol(finish=lambda: None); seeds.drain_python()\\n'\n"
                              "    'kept = seeds.Protocol(finish=lambda: None)\\n'\n"
                              "    f'assert seeds.python() != {seeds.python()}')\n"
                              "sys.stderr.write('ends\\n')\n"
                              "subinterpreters.destroy(other)\n"
                              "sys.stderr.write('ended\\n')\n")
        self.assertRegex(told, r"\A1 closed .*\n1 finished .*\nends\n2 closed .*\n2 finished .*\nended\n\Z")


if __name__ == "__main__":
    support.main()
