#!/usr/bin/python3
# demo_test.py - the demo ends by itself, in good order: demo_test.py DEMO BUILD_DIR
# SPDX-License-Identifier: MIT
import os
import re
import subprocess
import sys
import time

LAST = r'demo: requests=(\d+) here=(\d+) home=(\d+) orphaned=0 lost=0 reports=1 requests_checks_off=(\d+)'

# Under ThreadSanitizer the planted mistake is in its report as well: the server is to go on.
process = subprocess.Popen([*sys.argv[1:], '1'], stdout=subprocess.PIPE, text=True, start_new_session=True,
                           env=os.environ | {'TSAN_OPTIONS': 'halt_on_error=0:exitcode=0'})
text = process.communicate()[0]
assert process.returncode == 0, text
last = re.fullmatch(LAST, text.splitlines()[-1])
assert last and all(int(number) > 0 for number in last.groups()), text
# A sanitizer's symboliser is a process that may outlive the server for a moment.
for _ in range(6000):
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        break
    time.sleep(0.01)
else:
    sys.exit('a process is left')
