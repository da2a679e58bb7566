# routes_test.py - the routes by which a Python object dies on another thread than its own; each payload comes home.
# SPDX-License-Identifier: MIT
import concurrent.futures
import contextvars
import gc
import queue
import sys
import threading
import weakref

import seeds
import support
from support import elsewhere


class Thing:
    """Anything that may be referred to, and refer."""


def collect():
    gc.collect()


def allocate(box):
    """Until a collection has begun by itself, and found what is to be collected."""
    gc.set_threshold(10)
    gc.enable()
    kept = []
    while not seeds_died(box):
        kept.append([])
    gc.disable()


def seeds_died(box):
    return box[0]() is None


def clear(box):
    box.clear()


def in_a_cycle():
    protocol = seeds.Protocol()
    protocol.attachment = protocol
    return protocol.serial, weakref.ref(protocol)


def raise_over(protocol):
    raise ValueError(protocol.serial)


def error_over_a_protocol():
    """An error whose traceback has frames that hold one."""
    protocol = seeds.Protocol()
    try:
        raise_over(protocol)
    except ValueError as error:
        return protocol.serial, error


class Collection(support.Test):
    def test_gc_collect_on_another_thread(self):
        serial, _ = in_a_cycle()
        elsewhere(collect)
        self.assert_dies_at_home(serial, "gc.collect()")

    def test_implicit_collection_by_allocation(self):
        thresholds = gc.get_threshold()
        serial, weak = in_a_cycle()
        elsewhere(allocate, [weak])
        gc.set_threshold(*thresholds)
        self.assert_dies_at_home(serial, "kept.append([])")


class Exceptions(support.Test):
    def test_the_frame_route_through_f_back(self):
        """The application's frame and its error are a cycle, and that frame leads back to the server's."""
        def application():
            try:
                raise ValueError
            except ValueError as error:
                kept = error  # which has a traceback, which has this frame
                return str(kept)

        def server():
            protocol = seeds.Protocol()
            application()
            return protocol.serial

        serial = server()
        self.assertEqual(seeds.take_fates(), [], "the server's frame has gone, without a collection")
        elsewhere(collect)
        self.assert_dies_at_home(serial, "gc.collect()")

    def test_a_stored_exception(self):
        last = Thing()
        serial, last.error = error_over_a_protocol()

        def forget():
            last.error = None

        elsewhere(forget)
        self.assert_dies_at_home(serial, "last.error = None")

    def test_a_held_frame(self):
        def handler():
            protocol = seeds.Protocol()
            return protocol.serial, [sys._getframe()]

        serial, box = handler()
        elsewhere(clear, box)
        self.assert_dies_at_home(serial, "box.clear()")

    def test_a_suspended_generator(self):
        def stream():
            protocol = seeds.Protocol()
            yield protocol.serial
            self.fail("it was resumed")

        box = [stream()]
        serial = next(box[0])
        elsewhere(clear, box)
        self.assert_dies_at_home(serial, "box.clear()")


class HandedOver(support.Test):
    def test_the_result_of_a_future(self):
        future = concurrent.futures.Future()
        future.set_result(seeds.Protocol())
        serial = future.result().serial
        box = [future]
        del future

        def look():
            box.pop().result()

        elsewhere(look)
        self.assert_dies_at_home(serial, "box.pop().result()")

    def test_the_exception_of_a_future(self):
        future = concurrent.futures.Future()
        serial, error = error_over_a_protocol()
        future.set_exception(error)
        box = [future]
        del future, error

        def look():
            box.pop().exception()

        elsewhere(look)
        self.assert_dies_at_home(serial, "box.pop().exception()")

    def test_a_queue(self):
        jobs = queue.Queue()

        def put():
            protocol = seeds.Protocol()
            jobs.put(protocol)
            return protocol.serial

        def work():
            job = jobs.get()
            del job

        serial = put()
        elsewhere(work)
        self.assert_dies_at_home(serial, "del job")

    def test_arguments_of_a_thread(self):
        go = threading.Event()

        def start():
            protocol = seeds.Protocol()
            thread = threading.Thread(target=lambda held: go.wait(), args=[protocol], name="elsewhere")
            thread.start()
            return protocol.serial, thread

        serial, thread = start()
        go.set()
        thread.join()
        self.assert_dies_at_home(serial, "del self._target, self._args")

    def test_arguments_of_weakref_finalize(self):
        box = [Thing()]

        def watch():
            protocol = seeds.Protocol()
            weakref.finalize(box[0], lambda held: None, protocol)
            return protocol.serial

        serial = watch()
        elsewhere(clear, box)
        self.assert_dies_at_home(serial, "box.clear()")


class Contexts(support.Test):
    variable = contextvars.ContextVar("variable")

    def test_a_copied_context(self):
        def request():
            protocol = seeds.Protocol()
            self.variable.set(protocol)
            return protocol.serial, [contextvars.copy_context()]

        serial, box = contextvars.Context().run(request)
        elsewhere(clear, box)
        self.assert_dies_at_home(serial, "box.clear()")

    def test_a_context_in_an_executor(self):
        go = threading.Event()

        def name():
            threading.current_thread().name = "elsewhere"

        with concurrent.futures.ThreadPoolExecutor(1, initializer=name) as pool:
            def request():
                protocol = seeds.Protocol()
                self.variable.set(protocol)
                pool.submit(contextvars.copy_context().run, go.wait)
                return protocol.serial

            serial = contextvars.Context().run(request)
            go.set()  # only now: else who submits may be the last to hold it
        self.assert_dies_at_home(serial, "del work_item")

    def test_a_threading_local_dropped_elsewhere(self):
        local = threading.local()
        local.protocol = seeds.Protocol()
        serial = local.protocol.serial
        box = [local]
        del local
        elsewhere(clear, box)
        self.assert_dies_at_home(serial, "box.clear()")

    def test_a_threading_local_that_ends_with_its_thread(self):
        """No frame is left there: the report has the thread, and no line."""
        local = threading.local()
        box = [seeds.Protocol()]
        serial = box[0].serial

        def take():
            seeds.self()  # else it is met when `threading` knows it no more
            local.protocol = box.pop()

        elsewhere(take)
        self.assert_dies_at_home(serial, None)


if __name__ == "__main__":
    support.main()
