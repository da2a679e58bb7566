#!/usr/bin/python3
# demo_test.py - the demo ends by itself, with destructors on foreign threads in one half alone: demo_test.py DEMO PACKAGE_DIR
# SPDX-License-Identifier: MIT
import importlib.util
import re
import sys

import tap

if importlib.util.find_spec("flask"):
    ran = tap.run(sys.executable, *sys.argv[1:], "200")
    last = re.fullmatch(r"demo-python: requests=400 foreign_without=([1-9]\d*) foreign_with=0 lost=0", ran.stdout.splitlines()[-1])
    tap.ok(ran.returncode == 0 and last, "it ends well", ran.stdout)
    tap.ok(re.search(r"foreign: WSGIProtocol made on 'pool-\d+' at tether_wsgi/__init__\.py:\d+ in work, destroyed on '.*' at .*:\d+",
                     ran.stdout), "it names destructors, where the object was made, and where it was let go", ran.stdout)
else:
    tap.skip("flask is not installed")
tap.done()
