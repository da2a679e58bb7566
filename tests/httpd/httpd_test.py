#!/usr/bin/python3
# httpd_test.py - the example web server, from outside: it answers as HTTP wants, and loses no object.
# SPDX-License-Identifier: MIT
# Usage: httpd_test.py HTTPD [TEST...], as in Timeouts.test_an_idle_connection_is_closed; the result is TAP.
# Each test stops its server, whose counts must add up.
import ctypes
import errno
import json
import os
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

HTTPD = sys.argv.pop(1)
PATIENCE_S = 60  # for a server that hangs; nothing measured depends on it
HOST = b'Host: localhost\r\n'
# Under ThreadSanitizer a planted mistake that races is in its report as well, by our name; the server is to go on.
GO_ON = os.environ | {'TSAN_OPTIONS': 'halt_on_error=0:exitcode=0'}


def get(path, method='GET', headers=b'', body=b''):
    length = b'Content-Length: %d\r\n' % len(body) if body else b''
    return b'%s %s HTTP/1.1\r\n%s%s%s\r\n%s' % (method.encode(), path.encode(), HOST, headers, length, body)


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile('rb')

    def send(self, data):
        self.socket.sendall(data)

    def answer(self, has_body=True):
        """The status, header fields and body of the next answer."""
        status = int(self.file.readline().split()[1])
        fields = {}
        while (line := self.file.readline().strip()):
            name, value = line.decode().split(': ', 1)
            fields[name] = value
        body = self.file.read(int(fields.get('Content-Length', 0))) if has_body else b''
        return status, fields, body

    def ask(self, *arguments, **named):
        self.send(get(*arguments, **named))
        return self.answer(named.get('method') != 'HEAD')

    def is_closed(self):
        """Has the server said all, and closed? Then so do we."""
        is_closed = self.file.read(1) == b''
        self.close()
        return is_closed

    def close(self):
        self.file.close()
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.close()


class Server:
    def __init__(self, *options, descriptors=None, tether=None):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        environment = GO_ON if any('--bug=' in option for option in options) else os.environ
        self.process = subprocess.Popen([HTTPD, '--port=0', '--seconds=%d' % (2 * PATIENCE_S), *options], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limit if descriptors else None,
                                        env=environment | ({'TETHER_OPTIONS': tether} if tether else {}))
        self.first_line = self.process.stdout.readline()
        self.port = int(re.search(r'127\.0\.0\.1:(\d+)', self.first_line)[1])

    def stop(self):
        """Its exit status and counts, and what it wrote to standard error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self):
        out, errors = self.process.communicate(timeout=2 * PATIENCE_S)
        counts = {name: int(value) for name, value in re.findall(r' (\w+)=(\d+)', out)}
        return self.process.returncode, counts, errors

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class HttpdTest(unittest.TestCase):
    maxDiff = None  # show all that a server wrote

    def start(self, *options, **named):
        server = Server(*options, **named)
        self.addCleanup(server.kill)
        return server

    def client(self, server):
        client = Client(server.port)
        self.addCleanup(client.close)
        return client

    def stop(self, server):
        """Stops it; nothing may be lost, nothing reported. Returns the counts."""
        return self.check(*server.stop())

    def check(self, status, counts, errors):
        self.assertEqual(errors, '')
        self.assertEqual(status, 0, counts)
        for name in 'lost', 'pending', 'orphaned', 'reports':
            self.assertEqual(counts[name], 0, counts)
        self.assertEqual(counts['queued'], counts['run_home'])
        self.assertEqual(counts['bound'], counts['destroyed'])
        self.assertEqual(counts['destroyed'], counts['here'] + counts['run_home'] - counts['messages'])
        return counts

    def stats(self, server):
        client = Client(server.port)
        status, fields, body = client.ask('/stats')
        client.close()
        self.assertEqual((status, fields['Content-Type']), (200, 'application/json'))
        return json.loads(body)

    def wait_for_jobs(self, server, jobs):
        while sum(loop['jobs'] for loop in self.stats(server)['loops']) < jobs:
            pass


class Answers(HttpdTest):
    def test_keep_alive_serves_many_requests_on_one_connection(self):
        server = self.start()
        client = self.client(server)
        for _ in range(10):
            status, fields, body = client.ask('/')
            self.assertEqual((status, fields['Connection']), (200, 'keep-alive'))
            self.assertTrue(body.startswith(b'hello'))
        self.assertEqual(self.stop(server)['bound'], 11)

    def test_connection_close_is_honoured(self):
        server = self.start('--linger-ms=%d' % (2000 * PATIENCE_S))
        client = self.client(server)
        status, fields, _ = client.ask('/', headers=b'Connection: close\r\n')
        self.assertEqual((status, fields['Connection']), (200, 'close'))
        self.assertTrue(client.is_closed())
        self.stop(server)

    def test_http_1_0_closes_unless_asked_to_stay(self):
        server = self.start()
        client = self.client(server)
        client.send(b'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
        self.assertEqual(client.answer()[1]['Connection'], 'keep-alive')
        client.send(b'GET / HTTP/1.0\r\n\r\n')
        self.assertEqual(client.answer()[1]['Connection'], 'close')
        self.assertTrue(client.is_closed())
        self.stop(server)

    def test_head_has_the_header_of_get_and_no_body(self):
        server = self.start()
        client = self.client(server)
        for path in '/', '/nothing', '/slow?ms=1':
            with self.subTest(path):
                wanted = client.ask(path)
                self.assertEqual(client.ask(path, method='HEAD'), (*wanted[:2], b''))
        self.stop(server)

    def test_paths(self):
        server = self.start()
        client = self.client(server)
        for path, status in ('/', 200), ('/?x=y', 200), ('http://localhost/', 200), ('http://localhost', 200), \
                ('/slow', 200), ('/stats', 200), ('/nothing', 404), ('//', 404), ('/slow/', 404), ('*', 404):
            with self.subTest(path):
                self.assertEqual(client.ask(path)[0], status)
        self.stop(server)

    def test_a_worker_hashes_the_body(self):
        server = self.start()
        client = self.client(server)
        self.assertEqual(client.ask('/slow', method='POST', body=b'a')[2], b'worked 0 ms on 1 bytes, hash e40c292c\n')
        client.send(b'POST /slow?ms=1 HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: chunked\r\n\r\n'
                    b'3\r\nfoo\r\n3;extension=1\r\nbar\r\n0\r\nHost: in a trailer\r\n\r\n')
        self.assertEqual(client.answer()[2], b'worked 1 ms on 6 bytes, hash bf9cf968\n')
        self.stop(server)

    def test_expect_continue(self):
        server = self.start()
        client = self.client(server)
        client.send(b'POST /slow HTTP/1.1\r\n' + HOST + b'Expect: 100-continue\r\nContent-Length: 3\r\n\r\n')
        self.assertEqual(client.answer()[0], 100)
        client.send(b'foo')
        self.assertEqual(client.answer()[0], 200)
        self.stop(server)

    def test_upgrade_is_ignored(self):
        server = self.start()
        client = self.client(server)
        self.assertEqual(client.ask('/', headers=b'Connection: upgrade\r\nUpgrade: h2c\r\n')[0], 200)
        self.assertEqual(client.ask('/')[0], 200)
        self.stop(server)

    def test_stats_name_the_loops(self):
        server = self.start('--threads=3')
        self.client(server).ask('/')
        stats = self.stats(server)
        self.assertEqual([loop['name'] for loop in stats['loops']], ['loop-0', 'loop-1', 'loop-2'])
        self.assertEqual(sum(loop['accepted'] for loop in stats['loops']), 2)
        self.assertGreaterEqual(stats['tether']['bound'], 4)
        self.stop(server)

    def test_the_most_loops_fit_in_stats(self):
        server = self.start('--threads=16')
        self.assertEqual(len(self.stats(server)['loops']), 16)
        self.stop(server)


class Pipelining(HttpdTest):
    def test_answers_come_in_the_order_of_requests(self):
        server = self.start()
        client = self.client(server)
        bodies = [b'x' * n for n in range(1, 100)]
        client.send(b''.join(get('/slow', 'POST', body=body) + get('/') + get('/nothing') for body in bodies))
        for body in bodies:
            self.assertIn(b'on %d bytes' % len(body), client.answer()[2])
            self.assertEqual(client.answer()[0], 200)
            self.assertEqual(client.answer()[0], 404)
        self.stop(server)

    def test_a_client_that_does_not_read_is_held_back_and_loses_nothing(self):
        server = self.start()
        client = self.client(server)
        count = 20000
        sender = threading.Thread(target=client.send, args=(get('/') * count,))
        sender.start()
        self.client(server).ask('/slow?ms=50')
        for _ in range(count):
            self.assertEqual(client.answer()[0], 200)
        sender.join()
        self.stop(server)

    def split(self, parts_of):
        """Sends requests in parts, and has each part read before the next is sent: the only loop has answered
        another client in between."""
        requests = (get('/slow', 'POST', body=b'foobar') + get('/', headers=b'X: y\r\n') +
                    b'POST /slow HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: chunked\r\n\r\n3\r\nfoo\r\n0\r\n\r\n' + get('/nothing', 'HEAD'))
        server = self.start('--threads=1')
        other = self.client(server)
        for parts in parts_of(requests):
            client = self.client(server)
            for part in parts:
                client.send(part)
                other.ask('/')
            self.assertIn(b'on 6 bytes, hash bf9cf968', client.answer()[2])
            self.assertEqual(client.answer()[0], 200)
            self.assertIn(b'on 3 bytes', client.answer()[2])
            self.assertEqual(client.answer(has_body=False)[0], 404)
            client.close()
        self.stop(server)

    def test_split_at_every_byte(self):
        self.split(lambda requests: [[requests[i:i + 1] for i in range(len(requests))]])

    def test_split_in_two_at_any_byte(self):
        self.split(lambda requests: [[requests[:i], requests[i:]] for i in range(1, len(requests))])


class Refusals(HttpdTest):
    MALFORMED = {
        'no HTTP at all': b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
        'zeroes': b'\0' * 64,
        'no method': b' / HTTP/1.1\r\n' + HOST + b'\r\n',
        'unknown method': b'FETCH / HTTP/1.1\r\n' + HOST + b'\r\n',
        'method in small letters': b'get / HTTP/1.1\r\n' + HOST + b'\r\n',
        'no path': b'GET  HTTP/1.1\r\n' + HOST + b'\r\n',
        'a space in the path': b'GET /a b HTTP/1.1\r\n' + HOST + b'\r\n',
        'a control character in the path': b'GET /\x01 HTTP/1.1\r\n' + HOST + b'\r\n',
        'no version': b'GET / HTTP/\r\n' + HOST + b'\r\n',
        'another protocol': b'GET / SMTP/1.1\r\n' + HOST + b'\r\n',
        'words after the version': b'GET / HTTP/1.1 please\r\n' + HOST + b'\r\n',
        'no host': b'GET / HTTP/1.1\r\n\r\n',
        'two hosts': b'GET / HTTP/1.1\r\n' + HOST + HOST + b'\r\n',
        'a zero in a header': b'GET / HTTP/1.1\r\n' + HOST + b'X: a\0b\r\n\r\n',
        'a space in a field name': b'GET / HTTP/1.1\r\n' + HOST + b'X Y: z\r\n\r\n',
        'a space after a field name': b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length : 3\r\n\r\nabc',
        'a field without a name': b'GET / HTTP/1.1\r\n' + HOST + b': z\r\n\r\n',
        'a line that is no field': b'GET / HTTP/1.1\r\n' + HOST + b'no colon\r\n\r\n',
        'CR without LF': b'GET / HTTP/1.1\r\n' + HOST + b'X: a\rY: b\r\n\r\n',
        'length of letters': b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length: abc\r\n\r\n',
        'negative length': b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length: -1\r\n\r\n',
        'length beyond 64 bits': b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length: 99999999999999999999999\r\n\r\n',
        'two lengths': b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length: 1\r\nContent-Length: 2\r\n\r\nab',
        'a length and chunks': b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
        'chunked, but not last': b'POST / HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n',
        'a chunk of no size': b'POST / HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: chunked\r\n\r\nxyz\r\n',
        'a chunk beyond 64 bits': b'POST / HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n',
        'a chunk without its end': b'POST / HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: chunked\r\n\r\n1\r\nabcd',
    }

    def test_malformed_requests_get_400_and_lose_nothing(self):
        server = self.start()
        for name, data in self.MALFORMED.items():
            with self.subTest(name):
                client = self.client(server)
                client.send(get('/') + data + get('/'))
                self.assertEqual(client.answer()[0], 200)
                status, fields, _ = client.answer()
                self.assertEqual((status, fields['Connection']), (400, 'close'))
                self.assertTrue(client.is_closed())
        self.assertEqual(self.client(server).ask('/')[0], 200)
        self.stop(server)

    def refused(self, data, status, *options):
        server = self.start(*options)
        client = self.client(server)
        client.send(data)
        found, fields, _ = client.answer()
        self.assertEqual((found, fields['Connection']), (status, 'close'))
        self.assertTrue(client.is_closed())
        self.assertEqual(self.client(server).ask('/')[0], 200)
        self.stop(server)
        return fields

    def test_405_names_what_is_allowed(self):
        for method in 'PUT', 'DELETE', 'OPTIONS', 'TRACE':
            with self.subTest(method):
                self.assertEqual(self.refused(get('/', method), 405)['Allow'], 'GET, HEAD, POST')
        self.refused(b'CONNECT localhost:80 HTTP/1.1\r\n' + HOST + b'\r\nmore', 405)

    def test_413_for_a_long_body(self):
        self.refused(b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length: 101\r\n\r\n', 413, '--max-body=100')
        self.refused(b'POST / HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: chunked\r\n\r\n33\r\n' + b'x' * 51 + b'\r\n' +
                     b'32\r\n' + b'x' * 50 + b'\r\n0\r\n\r\n', 413, '--max-body=100')

    def test_a_body_of_the_greatest_length_is_served(self):
        server = self.start('--max-body=100')
        self.assertIn(b'on 100 bytes', self.client(server).ask('/slow', 'POST', body=b'x' * 100)[2])
        self.stop(server)

    def test_the_answer_to_a_long_body_survives_the_rest_of_it(self):
        self.refused(get('/', 'POST', body=b'x' * 1000000), 413)

    def test_414_for_a_long_path(self):
        self.refused(get('/' + 'x' * 2000), 414)

    def test_431_for_a_long_header(self):
        self.refused(get('/', headers=b'X: ' + b'y' * 1000 + b'\r\n'), 431, '--max-header=1000')
        self.refused(get('/', headers=b'X: y\r\n' * 1000), 431, '--max-header=1000')

    def test_503_when_too_much_waits_for_a_worker(self):
        server = self.start('--workers=1', '--max-jobs=1')
        clients = [self.client(server) for _ in range(3)]
        for client in clients:
            client.send(get('/slow?ms=10000'))
        self.wait_for_jobs(server, 1)
        refused = [client for client in clients if client.socket in self.readable(clients)]
        self.assertGreaterEqual(len(refused), 1)
        for client in refused:
            self.assertEqual(client.answer()[0], 503)
        for client in clients:
            client.reset()
        self.stop(server)

    def readable(self, clients):
        return select.select([client.socket for client in clients], [], [], PATIENCE_S)[0]

    def test_505_for_another_version(self):
        self.refused(b'GET / HTTP/2.0\r\n' + HOST + b'\r\n', 505)


class Timeouts(HttpdTest):
    def test_an_idle_connection_is_closed(self):
        server = self.start('--idle-ms=100')
        for _ in range(100):
            client = self.client(server)
            try:
                self.assertEqual(client.ask('/')[0], 200)
                break
            except (IndexError, OSError):
                pass  # it was idle before it had asked: the machine is busy
        else:
            self.fail('no answer, ever')
        self.assertTrue(client.is_closed())
        self.assertTrue(self.client(server).is_closed())
        self.stop(server)

    def test_an_unfinished_header_gets_408(self):
        server = self.start('--header-ms=100')
        client = self.client(server)
        client.send(b'GET / HTTP/1.1\r\nHos')
        self.assertEqual(client.answer()[0], 408)
        self.assertTrue(client.is_closed())
        self.stop(server)

    def test_an_unfinished_body_gets_408(self):
        server = self.start('--total-ms=100')
        client = self.client(server)
        client.send(b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length: 3\r\n\r\nfo')
        self.assertEqual(client.answer()[0], 408)
        self.assertTrue(client.is_closed())
        self.stop(server)

    def test_a_worker_that_takes_too_long_gets_504(self):
        server = self.start('--total-ms=100')
        client = self.client(server)
        self.assertEqual(client.ask('/slow?ms=10000')[0], 504)
        self.assertTrue(client.is_closed())
        self.stop(server)

    def test_a_client_that_stays_after_the_last_answer_is_closed(self):
        server = self.start('--linger-ms=100')
        client = self.client(server)
        client.ask('/', headers=b'Connection: close\r\n')
        with self.assertRaises(OSError):
            while True:  # until the server has closed both directions
                client.send(b'x')
        self.stop(server)


class Disconnects(HttpdTest):
    def test_half_close_still_gets_its_answers(self):
        server = self.start()
        for path in '/', '/slow?ms=20':
            client = self.client(server)
            client.send(get(path) * 3)
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual([client.answer()[0] for _ in range(3)], [200] * 3)
            self.assertTrue(client.is_closed())
        self.stop(server)

    def test_half_close_in_the_middle_of_a_request(self):
        server = self.start()
        for data in b'', b'GET', b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length: 3\r\n\r\nfo':
            client = self.client(server)
            client.send(data)
            client.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(client.is_closed())
        self.stop(server)

    def test_a_client_that_goes_during_slow_leaves_the_last_reference_to_a_worker(self):
        gone = 8
        server = self.start('--workers=%d' % gone, '--drain-ms=60000')
        clients = [self.client(server) for _ in range(gone)]
        for client in clients:
            client.send(get('/slow?ms=10000', 'POST', body=b'x' * 1000) + get('/') * 500)  # more than the server reads
        self.wait_for_jobs(server, gone)
        for client in clients:
            client.reset()
        counts = self.stop(server)
        self.assertGreater(counts['queued'], 0)
        self.assertEqual(counts['messages'], 2)  # one for each loop, to stop: no job came home
        self.assertGreater(counts['run_home'] - counts['messages'], gone)  # all requests, and connections too

    def test_more_clients_than_descriptors(self):
        server = self.start('--threads=1', descriptors=24)
        clients = [self.client(server) for _ in range(40)]
        for client in clients:
            client.close()
        self.assertEqual(self.client(server).ask('/')[0], 200)
        self.stop(server)


class Drops(HttpdTest):
    """Nobody waits for what workers drop. So a loop that got some sleeps a short time in which nobody wakes it, if the
    kernel has epoll_pwait2()."""
    GONE = 200

    def has_microseconds(self):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall(441, -1, None, 0, None, None, 0)
        return ctypes.get_errno() != errno.ENOSYS

    def serve(self, tether=None):
        server = self.start('--threads=1', '--workers=1', tether=tether)
        return server, self.client(server)

    def counts(self, observer):
        loop = json.loads(observer.ask('/stats')[2])['loops'][0]
        return loop | loop['tether']

    def storm(self, server, observer):
        """Clients that go before they are answered: a worker drops what is left of them. Returns how often the loop
        slept unarmed until only the observer's connection and request were left."""
        before = self.counts(observer)
        clients = [self.client(server) for _ in range(self.GONE)]
        for client in clients:
            client.send(get('/slow?ms=10000'))
        while self.counts(observer)['jobs'] < before['jobs'] + self.GONE:
            time.sleep(0.01)
        for client in clients:
            client.reset()
        while (now := self.counts(observer))['bound'] - now['dropped_here'] - now['run_home'] > 2:
            time.sleep(0.01)
        self.assertGreaterEqual(now['queued'] - before['queued'], self.GONE)
        return now['unarmed'] - before['unarmed']

    def test_the_loop_sleeps_unarmed_after_them(self):
        server, observer = self.serve()
        self.assertEqual(self.storm(server, observer) > 0, self.has_microseconds())
        self.stop(server)

    def test_the_loop_sleeps_armed_if_told(self):
        server, observer = self.serve('linger_us=0')
        self.assertEqual(self.storm(server, observer), 0)
        self.stop(server)


class Stopping(HttpdTest):
    def test_sigterm_under_load_drains_everything(self):
        server = self.start('--workers=4', '--drain-ms=60000')
        answer = re.compile(rb'HTTP/1.1 \d+ .*?Content-Length: (\d+)\r\n.*?\r\n\r\n', re.DOTALL)
        many, cut = threading.Semaphore(0), []

        def load(client, path):
            data = b''
            try:
                while True:
                    client.send(get(path) * 4)
                    received = client.socket.recv(65536)
                    if not received:
                        break
                    data += received
                    many.release()
            except ConnectionError:
                return  # what it sent met the server's close, as may happen to an idle connection
            while (header := answer.match(data)) and len(data) >= header.end() + int(header[1]):
                data = data[header.end() + int(header[1]):]
            cut.append(data)
        threads = [threading.Thread(target=load, args=(self.client(server), path))
                   for path in ['/', '/slow?ms=2', '/nothing', '/slow'] * 4]
        for thread in threads:
            thread.start()
        for _ in range(200):
            many.acquire()
        counts = self.stop(server)
        for thread in threads:
            thread.join()
        self.assertEqual(set(cut) - {b''}, set())
        self.assertGreaterEqual(counts['requests'], 200)
        self.assertGreater(counts['queued'], 0)

    def test_sigterm_lets_a_worker_finish_and_closes_who_is_idle(self):
        server = self.start('--drain-ms=60000')
        idle, busy = self.client(server), self.client(server)
        idle.ask('/')
        busy.send(get('/slow?ms=100'))
        self.wait_for_jobs(server, 1)
        server.process.send_signal(signal.SIGTERM)
        self.assertTrue(idle.is_closed())
        status, fields, _ = busy.answer()
        self.assertEqual((status, fields['Connection']), (200, 'close'))
        busy.close()
        self.check(*server.wait())

    def test_sigint_does_not_wait_for_ever(self):
        server = self.start('--drain-ms=50')
        unfinished, busy = self.client(server), self.client(server)
        unfinished.send(b'GET / HT')
        busy.send(get('/slow?ms=10000'))
        self.wait_for_jobs(server, 1)
        server.process.send_signal(signal.SIGINT)
        self.check(*server.wait())

    def test_it_ends_after_so_many_requests_or_seconds(self):
        server = self.start('--requests=5')
        client = self.client(server)
        for _ in range(5):
            client.ask('/')
        self.assertEqual(self.check(*server.wait())['requests'], 5)
        self.check(*self.start('--seconds=1').wait())


class Bugs(HttpdTest):
    # The name: what the report says, of which type, on whose thread, whose it was, and where.
    BUGS = {
        'touch-from-worker': ('wrong-thread use', 'conn', r'pool-\d', r'loop-\d', r'conn\.c:\d+ in conn_is_open'),
        'destroy-on-worker': ('wrong-thread drop', 'conn', r'pool-\d', r'loop-\d', r'conn\.c:\d+ in conn_destroy'),
        'use-after-drop': ('use after drop', 'request', r'loop-\d', None, r'request\.c:\d+ in request_is_for'),
        'double-drop': ('double drop', 'request', r'pool-\d', r'loop-\d', None),
        'owner-exits': ('leak: its owner has gone', 'request', r'pool-\d', r'loop-\d.*exited', None),
    }

    def setUp(self):
        if 'checks on' not in self.start('--seconds=1').first_line:
            self.skipTest('a server without checks')

    def test_list_names_them_with_an_explanation(self):
        out = subprocess.run([HTTPD, '--bug=list'], capture_output=True, text=True, check=True).stdout
        self.assertEqual([line.split()[0] for line in out.splitlines()], list(self.BUGS))
        self.assertTrue(all(len(line.split()) > 3 for line in out.splitlines()))

    def test_each_is_caught_and_named(self):
        for bug, (what, kind, caller, owner, place) in self.BUGS.items():
            with self.subTest(bug):
                _, counts, errors = self.start('--bug=' + bug, '--once').wait()
                self.assertEqual(counts['reports'], 1, errors)
                self.assertRegex(errors, 'tether: %s: %s (0x[0-9a-f]+|"127.0.0.1:[0-9]+") ' % (what, kind))
                self.assertRegex(errors, "On thread '%s'" % caller)
                for text in filter(None, (owner and "Belong(?:s|ed) to '%s" % owner, place)):
                    self.assertRegex(errors, text)
                self.assertNotRegex(errors, 'Sanitizer: (?!wrong-thread use of struct|reported)')

    def test_only_the_loop_that_exits_loses_objects(self):
        for bug in self.BUGS:
            with self.subTest(bug):
                status, counts, _ = self.start('--bug=' + bug, '--once').wait()
                is_bad = bug == 'owner-exits'
                self.assertEqual((status, counts['lost'] > 0, counts['orphaned'] > 0), (int(is_bad), is_bad, is_bad))

    def test_an_unknown_bug_is_refused(self):
        done = subprocess.run([HTTPD, '--bug=none-such'], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn('--bug=none-such', done.stderr)


class Tap(unittest.TestResult):
    """Prints a line for each test (TAP), which meson counts."""

    def stopTest(self, test):
        texts = [text for failed, text in self.failures + self.errors if test in (failed, getattr(failed, 'test_case', None))]
        skipped = [' # SKIP ' + reason for who, reason in self.skipped if who is test]
        print('%s %d - %s%s' % ('not ok' if texts else 'ok', self.testsRun, test.id().removeprefix('__main__.'), ''.join(skipped)), flush=True)
        for line in ''.join(texts).splitlines():
            print('#     ' + line, flush=True)


if __name__ == '__main__':
    result = Tap()
    loader, here = unittest.defaultTestLoader, sys.modules['__main__']
    suite = loader.loadTestsFromNames(sys.argv[1:], here) if sys.argv[1:] else loader.loadTestsFromModule(here)
    suite.run(result)
    print('1..%d' % result.testsRun)
    sys.exit(not result.wasSuccessful())
