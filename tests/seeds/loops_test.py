# loops_test.py - Python's event loops as owners: asyncio, Trio, Trio as a guest, and Hypercorn on it. The inbox is a descriptor to them.
# SPDX-License-Identifier: MIT
import asyncio
import json
import queue
import threading
import unittest
import unittest.mock

import seeds
import support
from support import elsewhere

try:
    import trio
    import trio.lowlevel
except ImportError:
    trio = None  # their tests are skipped, by name
try:
    import hypercorn.config
    import hypercorn.trio
except ImportError:
    hypercorn = None

needs_trio = unittest.skipUnless(trio, "python3-trio is not installed")
TRIOS = "^Trio .*thread"  # what it calls the threads that it makes
REQUESTS = 40


def use(box):
    """Not `box[0].use` itself: the thread that calls that would hold it for longer than the call."""
    return box[0].use()


def clear(box):
    box.clear()


async def drain():
    """Sleep until there is something in the inbox; how much that was."""
    handled = 0
    while not handled:
        await trio.lowlevel.wait_readable(seeds.inbox()[0])
        handled = seeds.drain()
    return handled


async def in_time(function):
    with trio.fail_after(support.PATIENCE_S):
        return await function()


class Loop(support.Test):
    def take_uses(self, on):
        """There was use elsewhere: it was reported, and nothing else."""
        reports = support.take_reports("wrong-thread-use")
        self.assertTrue(reports)
        for report in reports:
            self.assertEqual(report["owner"]["number"], seeds.self())
            self.assertNotEqual(report["thread"]["number"], seeds.self())
            self.assertRegex(report["thread"]["name"], on)

    def assert_home(self, *serials):
        self.assertEqual([fate[:3] for fate in seeds.take_fates()], [(serial, "closed", seeds.self()) for serial in serials])


class Asyncio(Loop):
    def run_until_drained(self, send):
        """add_reader() on the inbox; `send` leads to one thing in it."""
        async def main():
            drained = asyncio.get_running_loop().create_future()

            def on_readable():
                handled = seeds.drain()
                if handled:
                    drained.set_result(handled)

            fd, _ = seeds.inbox()
            asyncio.get_running_loop().add_reader(fd, on_readable)
            try:
                await send()
                return await asyncio.wait_for(drained, support.PATIENCE_S)
            finally:
                asyncio.get_running_loop().remove_reader(fd)

        self.assertEqual(asyncio.run(main()), 1)

    def test_an_executor_is_others_and_the_inbox_wakes_the_loop(self):
        box = [seeds.Protocol()]
        serial = box[0].serial

        def work():
            threading.current_thread().name = "elsewhere"
            box.clear()

        async def send():
            await asyncio.get_running_loop().run_in_executor(None, work)

        self.run_until_drained(send)
        report, = support.take_reports("foreign-drop")
        self.assert_told(report, "box.clear()")
        self.assert_home(serial)

    def test_who_drops_needs_no_gil(self):
        box = [seeds.Protocol()]
        serial = box[0].serial

        async def send():
            self.assertTrue(box[0].drop_without_gil(), "it waits for the GIL, which we hold")
            self.assertEqual(seeds.take_fates(), [])

        self.run_until_drained(send)
        self.assert_home(serial)


@needs_trio
class Trio(Loop):
    def test_a_worker_is_another_owner(self):
        async def main():
            box = [seeds.Protocol()]
            serial = box[0].serial
            with self.assertRaisesRegex(RuntimeError, "of 'MainThread'.*used on 'Trio "):
                await trio.to_thread.run_sync(use, box)
            self.take_uses(TRIOS)
            self.assertEqual(await trio.to_thread.run_sync(trio.from_thread.run_sync, use, box), serial)
            await trio.to_thread.run_sync(clear, box)
            report, = support.take_reports("foreign-drop")
            self.assert_told(report, "box.clear()", on=TRIOS)
            self.assertEqual(seeds.take_fates(), [])
            self.assertEqual(await drain(), 1)
            self.assert_home(serial)

        trio.run(in_time, main)

    def test_another_loop_is_another_owner(self):
        async def use_it():
            box.pop().use()

        def other_loop():
            with self.assertRaisesRegex(RuntimeError, "used on 'elsewhere'"):
                trio.run(use_it)

        async def main():
            serial = protocol.use()
            box.append(protocol)
            await trio.to_thread.run_sync(elsewhere, other_loop)
            self.take_uses("elsewhere")
            self.assertEqual(protocol.use(), serial)

        box, protocol = [], seeds.Protocol()
        serial = protocol.serial
        trio.run(in_time, main)
        del protocol
        self.assert_home(serial)

    def test_who_drops_needs_no_gil(self):
        async def main():
            protocol = seeds.Protocol()
            serial = protocol.serial
            self.assertTrue(protocol.drop_without_gil(), "it waits for the GIL, which we hold")
            self.assertEqual(seeds.take_fates(), [])
            self.assertEqual(await drain(), 1)
            self.assert_home(serial)

        trio.run(in_time, main)


class Host:
    """A loop of another kind on this thread, whose guest Trio is: its tasks run here, and its poller waits on a thread of its own.
    What it waits with is ours, and lent to that thread, or not."""
    def __init__(self, is_lent):
        self.is_lent = is_lent
        self.jobs = queue.SimpleQueue()
        self.protocol = seeds.Protocol()
        self.serial = self.protocol.serial
        self.told = []  # by the poller

    def run(self, main):
        start_thread_soon = trio.lowlevel.start_thread_soon
        done = []

        def start(get_events, deliver):
            start_thread_soon(lambda: self.poll(get_events), deliver)

        with unittest.mock.patch("trio._core._run.start_thread_soon", start):
            trio.lowlevel.start_guest_run(in_time, main, run_sync_soon_threadsafe=self.jobs.put, done_callback=done.append)
            while not done:
                self.jobs.get(timeout=support.PATIENCE_S)()
        done[0].unwrap()
        self.protocol = None  # here: the poller's frame may not have gone yet

    async def polled(self):
        """Has slept until the poller was asked to wait: what was over by then, Trio looks after itself."""
        seconds = .01
        while not self.told:
            await trio.sleep(seconds)
            seconds *= 2

    def poll(self, get_events):
        if self.is_lent:
            self.borrow()
        try:
            self.told.append(self.protocol.use())
        except RuntimeError as error:
            self.told.append(str(error))
        events = get_events()
        if self.is_lent:
            self.told.append(self.protocol.give_back())
        return events

    def borrow(self):
        """Of the host, who cannot use it any more when this returns."""
        owner, lent = seeds.owner(), threading.Event()

        def lend():
            self.told += [self.protocol.lend(owner), self.protocol.is_mine()]
            lent.set()

        self.jobs.put(lend)
        lent.wait(support.PATIENCE_S)


@needs_trio
class Guest(Loop):
    def test_the_poller_passes_with_a_lend(self):
        async def main():
            await host.polled()
            self.assertEqual(host.protocol.use(), host.serial)  # it is back

        host = Host(is_lent=True)
        host.run(main)
        polled = [0, False, host.serial, 0]
        self.assertTrue(host.told)
        self.assertEqual(host.told, polled * (len(host.told) // len(polled)))
        self.assert_home(host.serial)

    def test_the_poller_is_caught_without(self):
        async def main():
            await host.polled()
            self.assertEqual(host.protocol.use(), host.serial)

        host = Host(is_lent=False)
        host.run(main)
        self.assertTrue(host.told)
        for told in host.told:
            self.assertRegex(str(told), "of 'MainThread'.*used on 'Trio ")
        self.take_uses(TRIOS)
        self.assert_home(host.serial)

    def test_the_inbox_wakes_the_host(self):
        async def main():
            box = [seeds.Protocol()]
            serial = box[0].serial
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, clear, box)
                self.assertEqual(await drain(), 1)
            report, = support.take_reports("foreign-drop")
            self.assert_told(report, "box.clear()", on=TRIOS)
            self.assert_home(serial)

        host = Host(is_lent=True)
        host.run(main)
        self.assert_home(host.serial)


async def application(scope, receive, send):
    """ASGI. Makes a protocol for each request, which a worker thread tries to use and lets go."""
    def work(box):
        try:
            box[0].use()
            return "used"
        except RuntimeError:
            return "refused"
        finally:
            box.clear()

    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
    box = [seeds.Protocol()]
    answer = json.dumps([box[0].use(), await trio.to_thread.run_sync(work, box)]).encode()
    headers = [(b"content-length", str(len(answer)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@needs_trio
@unittest.skipUnless(hypercorn, "python3-hypercorn is not installed")
class Hypercorn(Loop):
    async def ask(self, port, answers):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b"".join([part async for part in stream])
        await stream.aclose()
        answers.append(json.loads(answer.split(b"\r\n\r\n")[1]))

    async def serve(self):
        """Returns the answers and what was destroyed, by then."""
        answers, fates, enough = [], [], trio.Event()
        config = hypercorn.config.Config()
        config.bind, config.errorlog = ["127.0.0.1:0"], None
        async with trio.open_nursery() as nursery:
            serve = hypercorn.trio.serve
            bind, = await nursery.start(lambda task_status: serve(application, config, shutdown_trigger=enough.wait,
                                                                  task_status=task_status))
            async with trio.open_nursery() as clients:
                for _ in range(REQUESTS):
                    clients.start_soon(self.ask, int(bind.rpartition(":")[2]), answers)
                while len(fates) < REQUESTS:
                    await drain()
                    fates += seeds.take_fates()
            enough.set()
        return answers, fates

    def test_serves_while_protocols_cross_to_thread(self):
        answers, fates = trio.run(in_time, self.serve)
        self.assertEqual({told for _, told in answers}, {"refused"})
        self.assertEqual(len({serial for serial, _ in answers}), REQUESTS)
        self.assertEqual(sorted(fates), [(serial, "closed", seeds.self(), False) for serial, _ in sorted(answers)])
        reports = support.take_reports()
        self.assertEqual({report["kind"] for report in reports}, {"wrong-thread-use", "foreign-drop"})
        for report in reports:
            self.assert_told(report, "box.clear()" if report["kind"] == "foreign-drop" else "box[0].use()", on=TRIOS)


if __name__ == "__main__":
    support.main()
