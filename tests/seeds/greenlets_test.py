# greenlets_test.py - whose an object is when greenlets share a thread: the thread's; or the greenlet's, where it is an owner.
# SPDX-License-Identifier: MIT
# Usage: greenlets_test.py greenlet|gevent|eventlet: who switches. The latter two patch all they can, before all else.
import sys

FLAVOUR = sys.argv.pop(1)
try:
    if FLAVOUR == "gevent":
        import gevent.monkey
        gevent.monkey.patch_all()
        import gevent.threadpool
    elif FLAVOUR == "eventlet":
        import eventlet
        eventlet.monkey_patch()
        import eventlet.tpool
    import greenlet
except ModuleNotFoundError as missing:
    print(f"1..0 # SKIP python3-{FLAVOUR} is not installed: {missing}")
    sys.exit()

import _thread
import concurrent.futures
import threading
import unittest.mock

import seeds
import support

# run(): call these, each in a greenlet. pause(): let the others go on. in_pool(): call it in the pool's one thread.
if FLAVOUR == "gevent":
    POOL = gevent.threadpool.ThreadPool(1)
    in_pool = POOL.apply

    def pause():
        gevent.sleep(0)

    def run(*functions):
        gevent.joinall([gevent.spawn(function) for function in functions], raise_error=True)

elif FLAVOUR == "eventlet":
    eventlet.tpool.set_num_threads(1)
    in_pool = eventlet.tpool.execute

    def pause():
        eventlet.sleep(0)

    def run(*functions):
        for thread in [eventlet.spawn(function) for function in functions]:
            thread.wait()

else:
    POOL = concurrent.futures.ThreadPoolExecutor(1)

    def in_pool(function, *arguments):
        return POOL.submit(function, *arguments).result()

    def pause():
        greenlet.getcurrent().parent.switch()

    def run(*functions):
        left = [greenlet.greenlet(function) for function in functions]
        while left:
            for one in left:
                one.switch()
            left = [one for one in left if not one.dead]


class Fibers:
    """Each greenlet but the thread's first one is an owner, while the tracer is told of their switches."""

    def __enter__(self):
        self.owners, self.before = {}, 0
        greenlet.settrace(self.switched)
        return self

    def switched(self, event, origin_and_target):
        """On the target's stack, before it goes on."""
        _, target = origin_and_target
        seeds.leave_owner(self.before)
        self.before = 0
        if target.parent is None:
            return
        if target not in self.owners:
            self.owners[target] = seeds.create_owner(f"greenlet-{len(self.owners)}")
        self.before = seeds.enter_owner(self.owners[target])

    def __exit__(self, *_):
        greenlet.settrace(None)
        for owner in self.owners.values():
            assert seeds.end_owner(owner) == 0


def use(protocol):
    """What it said of why not."""
    try:
        protocol.use()
    except RuntimeError as error:
        return str(error)
    return None


def reports_of(test, *kinds):
    reports = support.take_reports()
    test.assertEqual([report["kind"] for report in reports], list(kinds))
    return reports


def take_turns():
    """One greenlet makes a protocol and has another of its own; a second one uses the first and lets it go."""
    box, told = [], {}

    def maker():
        own = seeds.Protocol()
        told["maker"], told["maker's ident"] = seeds.self(), threading.get_ident()
        box.append(seeds.Protocol())
        while box:
            pause()
        told["fates"] = seeds.take_fates()
        told["drained"] = seeds.drain()
        told["fates of maker"] = seeds.take_fates()
        own.use()
        told["own"] = own.serial

    def user():
        while not box:
            pause()
        told["user"], told["user's ident"] = seeds.self(), threading.get_ident()
        told["serial"] = box[0].serial
        told["said"] = use(box[0])
        box.clear()

    run(maker, user)
    return told


class AThreadIsOneOwner(support.Test):
    def test_whatever_greenlet_runs_on_it(self):
        told = take_turns()
        if FLAVOUR != "greenlet":
            self.assertNotEqual(told["maker's ident"], told["user's ident"], "Python tells them apart")
        self.assertEqual((told["maker"], told["user"]), (seeds.self(), seeds.self()))
        self.assertIsNone(told["said"])
        self.assertEqual(told["fates"], [(told["serial"], "closed", seeds.self(), True)], "let go there, and closed at once")
        self.assertEqual((told["drained"], told["fates of maker"]), (0, []))
        self.assertEqual(seeds.take_fates(), [(told["own"], "closed", seeds.self(), True)])

    def test_and_python_is_not_asked_which(self):
        asked, box = [], [seeds.Protocol()]
        serial = box[0].serial

        def all_of_it():
            with unittest.mock.patch.object(_thread, "get_ident", lambda: asked.append("_thread")), \
                    unittest.mock.patch.object(threading, "get_ident", lambda: asked.append("threading")), \
                    unittest.mock.patch.object(threading, "current_thread", lambda: asked.append("current_thread")):
                seeds.Protocol().use()
                said = use(box[0])
                box.clear()
                before = asked.copy()
                _thread.get_ident()
                return before, said

        before, said = in_pool(all_of_it)
        self.assertEqual((before, asked), ([], ["_thread"]), "the trap works, and was not stepped on")
        self.assertIsNotNone(said)
        reports_of(self, "wrong-thread-use", "foreign-drop")
        self.assertEqual(len(seeds.take_fates()), 1)
        self.assertEqual(seeds.drain(), 1)
        self.assertEqual(seeds.take_fates(), [(serial, "closed", seeds.self(), False)])


class APoolOfThreadsIsForeign(support.Test):
    def test_what_it_returns_is_caught_and_sent_home(self):
        protocol = in_pool(seeds.Protocol)
        serial, pool = protocol.serial, in_pool(seeds.self)  # and by now it has forgotten what it returned
        self.assertNotEqual(pool, seeds.self())
        self.assertIn(f"(owner #{pool})", use(protocol))
        report, = support.take_reports("wrong-thread-use")
        self.assertEqual((report["owner"]["number"], report["thread"]["number"]), (pool, seeds.self()))
        del protocol
        report, = support.take_reports("foreign-drop")
        self.assertEqual((report["owner"]["number"], report["thread"]["number"]), (pool, seeds.self()))
        self.assertEqual(seeds.take_fates(), [])
        self.assertEqual(in_pool(seeds.drain), 1)
        self.assertEqual(seeds.take_fates(), [(serial, "closed", pool, False)])

    def test_to_what_it_is_given(self):
        box = [seeds.Protocol()]
        serial, pool = box[0].serial, in_pool(seeds.self)
        self.assertIn(f"(owner #{pool})", in_pool(lambda: use(box[0])))
        in_pool(box.clear)
        for report in reports_of(self, "wrong-thread-use", "foreign-drop"):
            self.assertEqual((report["owner"]["number"], report["thread"]["number"]), (seeds.self(), pool))
        self.assertEqual(seeds.take_fates(), [])
        self.assertEqual(seeds.drain(), 1)
        self.assertEqual(seeds.take_fates(), [(serial, "closed", seeds.self(), False)])


class EachGreenletIsAnOwner(support.Test):
    def test_where_its_switches_enter_one(self):
        thread = seeds.self()
        with Fibers():
            told = take_turns()
            self.assertEqual(seeds.self(), thread, "the first one is the thread's own")
        self.assertEqual(len({thread, told["maker"], told["user"]}), 3)
        self.assertIn(f"(owner #{told['maker']})", told["said"])
        for report in reports_of(self, "wrong-thread-use", "foreign-drop"):
            self.assertEqual((report["owner"]["number"], report["thread"]["number"]), (told["maker"], told["user"]))
            self.assertTrue(report["owner"]["name"].startswith("greenlet-"), report["owner"])
        self.assertEqual(told["fates"], [], "let go by the other, and not closed there")
        self.assertEqual(told["drained"], 1)
        self.assertEqual(told["fates of maker"], [(told["serial"], "closed", told["maker"], False)])
        self.assertEqual(seeds.take_fates(), [(told["own"], "closed", told["maker"], True)])


if __name__ == "__main__":
    support.main()
