#!/usr/bin/python3
# sarif.py - tether-sarif: what it writes is SARIF, says what the reports said, and survives any input.
# SPDX-License-Identifier: MIT
import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema

import tap

SOURCE = pathlib.Path(sys.argv[1])
HTTPD = sys.argv[2:]
CONVERTER = SOURCE / "tools/tether-sarif"
VALIDATOR = jsonschema.Draft7Validator(json.loads((SOURCE / "tests/build/sarif-required.json").read_text()))
KINDS = re.findall(r'^\t\[TETHER_\w+\] = \{"([a-z-]+)"', (SOURCE / "lib/words.c").read_text(), re.MULTILINE)


def frame(function, file, line):
    return {"address": "0x55d0a3f1c2a0", "function": function, "file": file, "line": line, "inlined": False,
            "module": "/srv/bin/httpd", "offset": "0x2e10", "build_id": "5bd75c05"}


REPORT = {
    "tool": "tether", "version": "0.1.0", "kind": "wrong-thread-use", "level": "once", "pid": 4211,
    "time": "2026-11-21T06:00:00.123456Z",
    "verdict": "wrong-thread use: conn \"[::1]:52114\" belongs to 'loop-2', used on 'pool-0'",
    "advice": "use it on its owner only", "summary": "wrong-thread use src/conn.c:88 in conn_write (conn: loop-2 -> pool-0)",
    "suppression": "wrong-thread-use:conn_write", "operation": "check",
    "object": {"address": "0x7b2000000000", "type": "struct conn", "bytes": 128, "label": "[::1]:52114", "bound_ns": 18400000},
    "thread": {"id": "0x8c0de00000000005", "number": 5, "name": "pool-0", "tid": 4219},
    "owner": {"id": "0x8c0de00000000003", "number": 3, "name": "loop-2", "tid": 4217, "alive": True, "drained_ns": 1200000,
              "pending": 3, "doing": None},
    "at": {"frames": [frame("tether_check_", "/srv/src/include/tether/tag.h", 150),
                      frame("conn_write", "/srv/src/net/conn.c", 88),
                      frame("job_done", "/srv/src/net/pool.c", 204)], "cut": None},
    "bound": {"frames": [frame("conn_create", "/srv/src/net/conn.c", 31)], "cut": "no more frame pointers"},
    "owner_made": {"frames": [], "cut": None},
    "history": [{"event": "bound", "thread": {"id": "0x8c0de00000000003", "number": 3, "name": "loop-2"}, "ago_ns": 18400000,
                 "at": {"frames": [frame("conn_create", "/srv/src/net/conn.c", 31)], "cut": None}}],
}


def changed(**fields):
    """The report with other fields; those of an object inside it as object__field."""
    report = copy.deepcopy(REPORT)
    for name, value in fields.items():
        *path, last = (int(step) if step.isdecimal() else step for step in name.split("__"))
        inner = report
        for step in path:
            inner = inner[step]
        inner[last] = value
    return report


def line_of(report):
    return (json.dumps(report) + "\n").encode()


def convert(given, *arguments):
    """Run the converter. Returns its status, what it wrote, and what it told."""
    done = subprocess.run([CONVERTER, *arguments], input=given, capture_output=True)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr.decode()


def faults(log):
    return [f"{'/'.join(map(str, error.path))}: {error.message}"[:500] for error in VALIDATOR.iter_errors(log)]


def results(*reports, arguments=()):
    status, log, told = convert(b"".join(map(line_of, reports)), *arguments)
    tap.ok(status == 0 and not told and not faults(log), "reports as SARIF", status, told, *faults(log))
    return log["runs"][0]["results"]


def test_schema():
    """The schema itself refuses what the standard does: each of these is broken in one place."""
    _, log, _ = convert(line_of(REPORT), "--root=/srv/src")
    tap.ok(not faults(log), "a report becomes SARIF", *faults(log))
    breaks = {
        "no version": lambda log: log.pop("version"),
        "no runs": lambda log: log.pop("runs"),
        "no tool": lambda log: log["runs"][0].pop("tool"),
        "no name": lambda log: log["runs"][0]["tool"]["driver"].pop("name"),
        "a rule without id": lambda log: log["runs"][0]["tool"]["driver"]["rules"][3].pop("id"),
        "no message": lambda log: log["runs"][0]["results"][0].pop("message"),
        "a level that is none": lambda log: log["runs"][0]["results"][0].update(level="once"),
        "line 0": lambda log: log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"].update(startLine=0),
        "a blank in a URI": lambda log: log["runs"][0]["originalUriBaseIds"]["SRCROOT"].update(uri="file:///my src/"),
        "a stack without frames": lambda log: log["runs"][0]["results"][0]["stacks"][0].pop("frames"),
        "a field of another name": lambda log: log["runs"][0]["results"][0].update(location=[]),
    }
    for what, damage in breaks.items():
        broken = copy.deepcopy(log)
        damage(broken)
        tap.ok(faults(broken), f"the schema refuses {what}")


def test_kinds():
    tap.ok(len(KINDS) >= 17, f"the library has {len(KINDS)} kinds")
    status, log, told = convert(b"".join(line_of(changed(kind=kind)) for kind in KINDS))
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    tap.ok(status == 0 and not told and not faults(log), "every kind becomes SARIF", told, *faults(log))
    tap.ok([rule["id"] for rule in rules] == KINDS, "there is a rule for each kind, and no other", rules)
    tap.ok(all(rule["shortDescription"]["text"] and rule["help"]["text"] for rule in rules), "each rule is explained")
    found = log["runs"][0]["results"]
    tap.ok([result["ruleId"] for result in found] == KINDS, "each report is a result")
    tap.ok(all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in found), "and points at its rule")
    [result] = results(changed(kind="of-the-future"))
    tap.ok(result["ruleId"] == "of-the-future", "a kind that is not known yet is a rule of its own")


def test_result():
    [result] = results(REPORT)
    tap.ok(result["level"] == "error", "its level is error")
    message = result["message"]["text"]
    tap.ok(r'conn "\[::1\]:52114" belongs' in message, "the message has the verdict, brackets escaped", message)
    tap.ok("What to do: use it on its owner only." in message, "and the advice", message)
    [place] = result["locations"]
    tap.ok(place["physicalLocation"] == {"artifactLocation": {"uri": "file:///srv/src/net/conn.c"}, "region": {"startLine": 88}},
           "it points at the first line that is not the library's", place)
    tap.ok([len(stack["frames"]) for stack in result["stacks"]] == [3, 1], "the stacks are there, the library's frames too")
    tap.ok("no more frame pointers" in result["stacks"][1]["message"]["text"], "a stack that is cut says so")
    related = {place["id"]: place for place in result["relatedLocations"]}
    links = [int(link) for link in re.findall(r"(?<!\\)\]\((\d+)\)", message)]
    tap.ok(len(related) == 2 and links == sorted(related), "the message links to where it was bound and to its history", message)
    tap.ok(related[1]["physicalLocation"]["region"]["startLine"] == 31, "which is the line that the report names")
    tap.ok(result["properties"]["owner"]["id"] == "0x8c0de00000000003", "owners' ids are kept digit for digit")


def test_unknown():
    """What the library does not know is null."""
    [result] = results({key: value if key in ("tool", "kind", "verdict") else None for key, value in REPORT.items()})
    tap.ok("locations" not in result and "stacks" not in result, "a report of which little is known", result)
    [result] = results({key: REPORT[key] for key in ("tool", "kind", "verdict")})
    tap.ok(result["ruleId"] == "wrong-thread-use", "a report with three fields")
    [result] = results(changed(at={"frames": [{"module": "/srv/bin/my httpd", "offset": "0x2e10"}]}))
    tap.ok(result["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": "file:///srv/bin/my%20httpd"},
                                                         "address": {"relativeAddress": 0x2e10}}}],
           "without symbols it points into the module", result)
    [result] = results(changed(at={"frames": [frame("tether_drop", "/srv/src/lib/drop.c", 9)]}))
    region = result["locations"][0]["physicalLocation"]["region"]
    tap.ok(region == {"startLine": 9}, "if all frames are the library's, at the first")


def test_places():
    for what, file, arguments, wanted in (
            ("below the root", "/srv/src/net/conn.c", ["--root=/srv/src/"], {"uri": "net/conn.c", "uriBaseId": "SRCROOT"}),
            ("not below the root", "/srv/src2/conn.c", ["--root=/srv/src"], {"uri": "file:///srv/src2/conn.c"}),
            ("beside the build folder", "../net/conn.c", ["--root=/srv/src", "--build=/srv/src/build"],
             {"uri": "net/conn.c", "uriBaseId": "SRCROOT"}),
            ("relative, to the root", "net/./conn.c", ["--root=/srv/src"], {"uri": "net/conn.c", "uriBaseId": "SRCROOT"}),
            ("relative, without a root", "net/conn.c", [], {"uri": "net/conn.c"}),
            ("with all that URIs reserve", "/srv/src/a b/ü#?%:\x01.c", ["--root=/srv/src"],
             {"uri": "a%20b/%C3%BC%23%3F%25%3A%01.c", "uriBaseId": "SRCROOT"})):
        [result] = results(changed(at__frames__1__file=file), arguments=arguments)
        tap.ok(result["locations"][0]["physicalLocation"]["artifactLocation"] == wanted, f"a file {what}", result["locations"])
    _, log, _ = convert(b"", "--root=/srv/my src")
    tap.ok(log["runs"][0]["originalUriBaseIds"] == {"SRCROOT": {"uri": "file:///srv/my%20src/"}}, "the root is named")


def test_fingerprints():
    again = changed(pid=77, time="2027-01-01T00:00:00.000000Z", verdict="conn 0x1 used", history=[],
                    object__address="0x1", object__label=None, thread__name="pool-3", owner__number=9, at__frames__1__line=95,
                    at__frames__1__address="0x2")
    found = results(REPORT, again, REPORT)
    tap.ok([result["occurrenceCount"] for result in found] == [3], "the same mistake three times is one result, counted", found)
    [later] = results(again)
    tap.ok(later["partialFingerprints"] == found[0]["partialFingerprints"], "it is known again some lines down")
    for what, other in (("kind", changed(kind="use-after-drop")), ("function", changed(at__frames__1__function="conn_read")),
                        ("file", changed(at__frames__1__file="/srv/src/net/other.c")),
                        ("type", changed(object__type="struct request"))):
        tap.ok(len(results(REPORT, other)) == 2, f"another {what} is another result")
    [here] = results(REPORT, arguments=["--root=/srv/src"])
    moved = changed(at__frames__1__file="/home/ci/net/conn.c")
    [there] = results(moved, arguments=["--root=/home/ci"])
    tap.ok(here["partialFingerprints"] == there["partialFingerprints"], "it is the same wherever the sources lie")


def test_hostile():
    deep = b'{"tool":"tether","at":' + b'[' * 100000 + b']' * 100000 + b'}\n'
    bad = {
        "broken JSON": b'{"tool":"tether","kind":\n',
        "a line cut in the middle": line_of(REPORT)[:700] + b"\n",
        "bytes that are no UTF-8": line_of(REPORT).replace(b"pool-0", b"\xff\xfe"),
        "brackets without end": deep,
        "an enormous line": line_of(changed(verdict="x" * (1 << 20))),
        "an enormous number": line_of(changed(pid=10 ** 400)),
        "a number of more digits than Python reads": b'{"tool":"tether","pid":' + b"9" * 10000 + b"}\n",
        "NaN": line_of(changed(pid=float("nan"))),
        "no kind": line_of(changed(kind=None)),
        "no verdict": line_of(changed(verdict="")),
        "line 0": line_of(changed(at__frames__1__line=0)),
        "a line of 65 bits": line_of(changed(at__frames__1__line=1 << 65)),
        "an offset that is none": line_of(changed(at__frames__1__offset="0xfoo")),
    }
    for name, wrong in (("kind", 3), ("verdict", []), ("pid", "1"), ("pid", True), ("pid", 1.5), ("object", []), ("owner", "x"),
                        ("at", []), ("at__frames", {}), ("at__frames__1", 7), ("at__frames__1__function", {}), ("history", {}),
                        ("history__0", "dropped"), ("history__0__ago_ns", -1), ("owner__alive", 1), ("thread__id", 5)):
        bad[f"{name} is {wrong!r}"] = line_of(changed(**{name: wrong}))
    for what, line in bad.items():
        status, log, told = convert(line_of(REPORT) + line + line_of(REPORT))
        kept = log and [result["occurrenceCount"] for result in log["runs"][0]["results"]]
        tap.ok(status == 1 and not faults(log) and kept == [2], f"{what}: the others are kept", status, told[:500], *faults(log))
        tap.ok(re.fullmatch(r"tether-sarif: standard input:2: .+\n", told), f"{what}: told, with its number", told[:500])
        invocation = log["runs"][0]["invocations"][0]
        noted = len(invocation["toolExecutionNotifications"])
        tap.ok(not invocation["executionSuccessful"] and noted == 1, f"{what}: and in the log")
    _, log, told = convert(b"{\n" * 5000)
    tap.ok(told.count("\n") == 5000 and len(log["runs"][0]["invocations"][0]["toolExecutionNotifications"]) == 100,
           "thousands of them do not swell the log")
    [result] = results(changed(verdict="half a pair: \ud800, a nul: \0, \u2028", at__frames__1__file="\udfff\0.c"))
    tap.ok(result["locations"], "characters that are none do no harm", result)


def test_other_lines():
    status, log, told = convert(b"GET / 200\n\n  \n[]\n{\"level\":\"info\"}\n" + line_of(REPORT).rstrip() + b"\r\n")
    tap.ok(status == 0 and len(log["runs"][0]["results"]) == 1, "a program's other output is left out", told)
    tap.ok(told == "tether-sarif: standard input: lines that are no reports of tether, left out: 3\n", "and that is said", told)


def test_files(directory):
    status, log, _ = convert(b"")
    tap.ok(status == 0 and not faults(log) and log["runs"][0]["results"] == [], "no reports are no results")
    one, two, out = directory / "one.jsonl", directory / "two.jsonl", directory / "out.sarif"
    one.write_bytes(line_of(REPORT).rstrip())
    two.write_bytes(line_of(changed(kind="leaked")))
    status, log, _ = convert(line_of(changed(kind="double-drop")), one, "-", two)
    tap.ok([result["ruleId"] for result in log["runs"][0]["results"]] == ["wrong-thread-use", "double-drop", "leaked"],
           "files and standard input, in their order")
    status, log, _ = convert(b"", "-o", out, one)
    tap.ok(status == 0 and log is None and not faults(json.loads(out.read_text())), "-o writes a file")
    for what, arguments in (("a file that is not there", [directory / "none"]), ("a folder", [directory]),
                            ("a full disk", ["-o", "/dev/full"]), ("an unknown option", ["--rot=/"])):
        status, _, told = convert(b"", *arguments)
        tap.ok(status == 2 and "tether-sarif: " in told and "Traceback" not in told, f"{what}: status 2", status, told)


def test_httpd(directory):
    """What the library itself writes, of mistakes planted in the example."""
    for bug, kind, function in (("touch-from-worker", "wrong-thread-use", "conn_is_open"),
                                ("destroy-on-worker", "wrong-thread-drop", "conn_destroy"),
                                ("use-after-drop", "use-after-drop", "request_is_for"),
                                ("double-drop", "double-drop", None), ("owner-exits", "leaked", None)):
        reports = directory / f"{bug}.jsonl"
        environment = os.environ | {"TETHER_OPTIONS": f"format=jsonl:bind_stacks=full:history=1:log_path={reports}"}
        subprocess.run([*HTTPD, "--port=0", "--seconds=60", f"--bug={bug}", "--once"], env=environment, capture_output=True)
        [file] = directory.glob(f"{bug}.jsonl*")
        status, log, told = convert(file.read_bytes(), f"--root={SOURCE}", f"--build={pathlib.Path(HTTPD[0]).parent.parent}")
        tap.ok(status == 0 and not faults(log), f"httpd, {bug}: as SARIF", status, told, *faults(log))
        found = log["runs"][0]["results"]
        tap.ok([result["ruleId"] for result in found] == [kind], f"httpd, {bug}: one result, {kind}", found)
        place = found[0]["locations"][0] if found else {}
        tap.ok(place.get("logicalLocations"), f"httpd, {bug}: it names a function", found)
        if function:
            tap.ok(place["logicalLocations"][0]["name"] == function, f"httpd, {bug}: it is {function}", place)


test_schema()
test_kinds()
test_result()
test_unknown()
test_places()
test_fingerprints()
test_hostile()
test_other_lines()
with tempfile.TemporaryDirectory() as name:
    test_files(pathlib.Path(name))
    if HTTPD:
        test_httpd(pathlib.Path(name))
tap.done()
