# header_test.py - python.h, function by function: what an extension that is built on it does and says.
# SPDX-License-Identifier: MIT
import gc
import sys
import threading
import time

import seeds
import support
from support import elsewhere


def use(thing):
    return thing.use()


class Use(support.Test):
    def assert_refused(self, thing, made):
        with self.assertRaises(RuntimeError) as caught:
            elsewhere(use, thing)
        report, = support.take_reports("wrong-thread-use")
        self.assert_told(report, "return thing.use()", made)
        self.assertRegex(str(caught.exception), r"of 'MainThread' \(owner #\d+\).*; used on 'elsewhere' \(owner #\d+\)")
        self.assertIn(report["object"]["label"], str(caught.exception))

    def test_on_another_thread_is_a_runtime_error_that_names_both(self):
        protocol = seeds.Protocol()
        self.assert_refused(protocol, "Protocol(")
        self.assertEqual(protocol.use(), protocol.serial, "at home it goes on")
        self.assertEqual(seeds.take_fates(), [])
        serial = protocol.serial
        del protocol
        self.assertEqual(seeds.take_fates(), [(serial, "closed", seeds.self(), True)])

    def test_of_a_tag_in_the_object_itself_likewise(self):
        checked = seeds.Checked()
        self.assert_refused(checked, "Checked(")
        checked.use()

    def test_is_asked_after_silently(self):
        protocol = seeds.Protocol()
        self.assertTrue(protocol.is_mine())
        self.assertFalse(elsewhere(protocol.is_mine))
        protocol.attachment = protocol  # and now it goes nowhere
        protocol.attachment = None
        del protocol
        seeds.take_fates()

    def test_traversing_is_silent(self):
        protocols = [seeds.Protocol() for _ in range(100)]
        checked = seeds.Checked()
        for protocol in protocols:
            protocol.attachment = protocols
        elsewhere(gc.collect)
        self.assertIn(protocols, elsewhere(gc.get_referents, protocols[0]))
        self.assertIn(seeds.Checked, elsewhere(gc.get_referents, checked))
        self.assertEqual(support.take_reports(), [])
        for protocol in protocols:
            protocol.attachment = None
        del protocol
        protocols.clear()
        self.assertEqual(len(seeds.take_fates()), 100)


class Labels(support.Test):
    def tearDown(self):
        seeds.set_option("script_places", "1")
        seeds.take_fates()
        super().tearDown()

    def test_say_where(self):
        protocol = seeds.Protocol()
        self.assertRegex(protocol.description, r'"seeds/header_test.py:\d+ in test_say_where"')

    def test_have_the_end_of_a_long_path(self):
        names = {}
        code = "def make():\n    return seeds.Protocol()\n"
        exec(compile(code, "/srv/" + "long/" * 30 + "a_module_with_quite_a_long_name.py", "exec"), {"seeds": seeds}, names)
        self.assertIn('"a_module_with_quite_a_long_name.py:2 in make"', names["make"]().description)

    def test_are_cut_between_characters(self):
        for filler in "", "x":
            names, name = {}, filler + "\u00fc" * 30
            code = f"def {name}():\n    return seeds.Protocol()\n"
            exec(compile(code, "an_app.py", "exec"), {"seeds": seeds}, names)
            make, = names.values()
            self.assertRegex(make().description, f'"an_app.py:2 in {filler}\u00fc+"')

    def test_are_replaced_by_the_extension(self):
        protocol = seeds.Protocol()
        self.assertEqual(protocol.set_label("127.0.0.1:80"), 0)
        self.assertIn('"127.0.0.1:80"', protocol.description)

    def test_are_left_out_if_the_option_says_so(self):
        seeds.set_option("script_places", "0")
        self.assertNotIn("header_test", seeds.Protocol().description)


class Names(support.Test):
    def test_are_those_that_threading_has_whatever_came_first(self):
        """One process for each: whoever was met has its name."""
        for first in "seeds.self()", "seeds.Protocol()", "seeds.python()", "seeds.Protocol(finish=print)":
            status, told = support.child("import sys, threading, seeds\n"
                                         "threading.current_thread().name = 'the first'\n"
                                         f"{first}\n"
                                         "sys.stderr.write(seeds.Protocol().description)\n", TETHER_OPTIONS="stall_ms=0")
            self.assertEqual(status, 0, told)
            self.assertIn("of 'the first' (owner #1)", told)


class LettingGo(support.Test):
    def test_leaves_an_exception_alone(self):
        """What the failed call has for an argument dies while its error is on its way."""
        box = [seeds.Protocol()]
        serial = box[0].serial

        def fail():
            int(box.pop())

        with self.assertRaisesRegex(TypeError, "^int.. argument must be"):
            elsewhere(fail)
        self.assert_dies_at_home(serial, "int(box.pop())")

    def test_is_told_once_for_each_line_however_often_it_is_compiled(self):
        kept = []
        seeds.set_option("level", "once")
        for name in ["one.py"] * 3 + ["two.py"] * 2:
            names, box = {}, [seeds.Protocol()]
            exec(compile("def forget(box):\n    box.clear()\n", f"/srv/{name}", "exec"), names)
            elsewhere(names["forget"], box)
            kept.append(names)
        seeds.set_option("level", "warn")
        told = [report["at"]["frames"][0]["file"] for report in support.take_reports("foreign-drop")]
        self.assertEqual(told, ["/srv/one.py", "/srv/two.py"])
        self.assertEqual(seeds.drain(), 5)
        self.assertEqual(len(seeds.take_fates()), 5)

    def test_at_home_says_nothing(self):
        serial = seeds.Protocol().serial
        self.assertEqual(seeds.take_fates(), [(serial, "closed", seeds.self(), True)])

    def test_a_tag_in_the_object_itself_is_told_once(self):
        box = [seeds.Checked()]
        elsewhere(lambda: box.clear())
        report, = support.take_reports("foreign-drop")
        self.assert_told(report, "box.clear()", "Checked(")

    def test_a_tag_in_the_object_itself_ends_silently_at_home(self):
        seeds.Checked()

    def test_what_was_never_bound_is_silent(self):
        self.assertRaises(ValueError, seeds.Checked, may_be_made=False)
        self.assertRaises(TypeError, seeds.Checked, 1, 2)


class WithTheGil(support.Test):
    """What a payload has to do with the GIL is the interpreter's, and no thread of the server waits for it."""

    def await_fates(self, count):
        fates, end = [], time.monotonic() + support.PATIENCE_S
        while len(fates) < count and time.monotonic() < end:  # the main thread is told between two bytecodes
            fates += seeds.take_fates()
        return fates

    def test_is_done_after_the_rest_by_the_main_thread(self):
        called = []
        box = [seeds.Protocol(finish=lambda: called.append(threading.current_thread().name))]
        serial = box[0].serial
        elsewhere(box.clear)
        self.assertEqual(seeds.take_fates(), [])
        self.assertEqual(len(support.take_reports("foreign-drop")), 1, "of one tag, not of both")
        self.assertEqual(seeds.drain(), 1)
        self.assertEqual(self.await_fates(2), [(serial, "closed", seeds.self(), False),
                                               (serial, "finished", seeds.python(), True)])
        self.assertEqual(called, ["MainThread"])

    def test_is_done_by_whoever_binds_next(self):
        called = []

        def make():
            serial = seeds.Protocol(finish=lambda: called.append(threading.current_thread().name)).serial
            other = seeds.Protocol().serial
            return serial, other, seeds.self()

        serial, other, owner = elsewhere(make)  # the main thread waits, and runs no bytecode
        self.assertEqual(called, ["elsewhere"])
        self.assertEqual(sorted(seeds.take_fates()), [(serial, "closed", owner, True), (serial, "finished", seeds.python(), True),
                                                      (other, "closed", owner, True)])

    def test_is_done_as_the_interpreter_and_not_as_the_thread(self):
        mine, box, made, said = seeds.Protocol(), [seeds.Protocol()], [], []
        serials = [mine.serial, box[0].serial]

        def finish():
            said.append(seeds.self())
            made.append(seeds.Protocol())
            self.assertRaisesRegex(RuntimeError, "of 'MainThread'.*used on 'python'", mine.use)
            box.clear()

        seeds.Protocol(finish=finish)
        self.assertEqual([what for _, what, _, _ in self.await_fates(2)], ["closed", "finished"])
        self.assertEqual(said, [seeds.python()])
        self.assertEqual([report["kind"] for report in support.take_reports()], ["wrong-thread-use", "foreign-drop"])
        self.assertFalse(made[0].is_mine())
        self.assertEqual(seeds.drain(), 1, "what was let go there goes home")
        del mine
        self.assertEqual([fate[:2] for fate in seeds.take_fates()], [(serial, "closed") for serial in reversed(serials)])
        made.clear()
        self.assertEqual(len(support.take_reports("foreign-drop")), 1)
        self.assertEqual(len(self.await_fates(1)), 1)

    def test_may_itself_make_such_objects(self):
        left = [3]

        def again():
            left[0] -= 1
            if left[0]:
                seeds.Protocol(finish=again)

        seeds.Protocol(finish=again)
        fates = self.await_fates(6)
        self.assertEqual([what for _, what, _, _ in fates].count("finished"), 3)
        self.assertEqual(left, [0])

    def test_may_wait_while_others_go_on(self):
        """Whoever holds the GIL meanwhile finds the interpreter's owner taken, and does not wait, nor is it told."""
        is_in, may_end = threading.Event(), threading.Event()

        def wait():
            is_in.set()
            may_end.wait(support.PATIENCE_S)

        def make():
            seeds.Protocol(finish=wait)
            seeds.drain_python()

        thread = threading.Thread(target=make)
        thread.start()
        is_in.wait(support.PATIENCE_S)
        self.assertEqual(elsewhere(seeds.drain_python), 0)
        seeds.Protocol(finish=lambda: None)
        may_end.set()
        thread.join()
        seeds.drain_python()
        self.assertEqual(len(self.await_fates(4)), 4)

    def test_is_called_whole_though_it_was_in_a_dead_cycle(self):
        """The collector clears what it finds there; before, the payload took it along."""
        called = []

        def make():
            protocol = seeds.Protocol(finish=lambda: called.append((type(protocol), threading.get_ident)))
            return protocol.serial

        serial = make()
        elsewhere(gc.collect)
        self.assertEqual(len(support.take_reports("foreign-drop")), 1)
        self.assertEqual(called, [])
        self.assertEqual(seeds.drain(), 1)
        self.assertEqual([fate[:2] for fate in self.await_fates(2)], [(serial, "closed"), (serial, "finished")])
        self.assertEqual(called, [(seeds.Protocol, threading.get_ident)])

    def test_that_fails_is_told_by_python(self):
        told = []

        def fail():
            raise ValueError

        hook, sys.unraisablehook = sys.unraisablehook, told.append
        seeds.Protocol(finish=fail)
        seeds.drain_python()
        sys.unraisablehook = hook
        self.assertEqual([one.exc_type for one in told], [ValueError])
        told.clear()
        self.assertEqual(len(self.await_fates(2)), 2)


if __name__ == "__main__":
    support.main()
