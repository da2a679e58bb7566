# results.py - from the measurements of all rounds to the entries of results.json, judged.
# SPDX-License-Identifier: MIT
import statistics
from collections import namedtuple

import suite

# One measurement. `lines`: a cache line's trip between the two cores before and after it, in ns; `busy`: how much of the
# time the thread had its core. Both are None where that was not looked at.
Sample = namedtuple("Sample", "figure subject producers size value unit lines busy", defaults=[None, None])

SIBLINGS_NS = 50  # two cores take 75 ns or more for a trip there and back, two threads of one core half of this
STRAY = 1.5       # how far a trip may be from the usual one: beyond, a core was lent to somebody, or the two moved apart
LEAST_BUSY = 0.8


def is_disturbed(sample, usual_ns):
    """Did the two virtual cores share a real one, or was one taken away?"""
    if sample.busy is not None and sample.busy < LEAST_BUSY:
        return True
    return sample.lines is not None and any(
        trip < SIBLINGS_NS or not usual_ns / STRAY <= trip <= usual_ns * STRAY for trip in sample.lines)


def groups(samples):
    """The values of each (figure, subject, producers, size): (unit, kept, how many were discarded)."""
    trips = [trip for sample in samples for trip in sample.lines or ()]
    usual_ns = statistics.median(trips) if trips else 0
    found = {}
    for sample in samples:
        key = (sample.figure, sample.subject, sample.producers, sample.size)
        unit, kept, discarded = found.setdefault(key, (sample.unit, [], []))
        (discarded if is_disturbed(sample, usual_ns) else kept).append(sample.value)
    return {key: (unit, kept, len(discarded)) for key, (unit, kept, discarded) in found.items()}


def above_empty_loop(found):
    """What a check adds: the empty loop's median is taken away from all the other checks."""
    loop = ("check", "floor", 0, 0)
    loop_ns = statistics.median(found[loop][1]) if loop in found and found[loop][1] else 0
    return {key: (unit, [value - loop_ns for value in kept] if key[0] == "check" and key != loop else kept, discarded)
            for key, (unit, kept, discarded) in found.items()}


def entry_of(key, unit, kept, discarded):
    figure, subject, producers, size = key
    entry = {"figure": figure, "subject": subject, "producers": producers, "size": size}
    if not kept:
        return entry | {"skipped": f"all {discarded} rounds were disturbed: the machine's two cores were not two", "discarded": discarded}
    return entry | {"median": round(statistics.median(kept), 3), "min": round(min(kept), 3), "max": round(max(kept), 3),
                    "unit": unit, "rounds": len(kept), "discarded": discarded}


def skipped(figure, subject, reasons):
    """An entry for what was not measured. `reasons`: of figures whose program says why."""
    why = reasons.get(figure) or (f"needs {suite.NEEDS[subject]}" if subject in suite.NEEDS else "its program printed nothing")
    return {"figure": figure, "subject": subject, "producers": 0, "size": 0, "skipped": why}


def entries_of(samples, reasons):
    """All entries in the suite's order, those that are missing too: what is compared stands together."""
    found = {}
    for family in sorted({sample.figure.split(".")[0] for sample in samples}):
        found |= groups([sample for sample in samples if sample.figure.split(".")[0] == family])
    found = above_empty_loop(found)
    entries = []
    for figure in suite.FIGURES:
        mine = {key: found[key] for key in found if key[0] == figure.name and key[1] in figure.subjects}
        for key in sorted(mine, key=lambda key: (key[2:], figure.subjects.index(key[1]))):
            entries.append(entry_of(key, *mine[key]))
        measured = {key[1] for key in mine}
        entries += [skipped(figure.name, subject, reasons) for subject in figure.subjects if subject not in measured]
    return entries


# ---- Ratios and targets ---------------------------------------------------------------------------


class Judge:
    def __init__(self, entries):
        self.medians = {(e["figure"], e["subject"], e["producers"], e["size"]): e["median"] for e in entries if "median" in e}

    def median(self, entry, subject):
        """What another subject took where this one was measured; None: it was not."""
        value = self.medians.get((entry["figure"], subject, entry["producers"], entry["size"]))
        if value is not None and entry["figure"] == "check":
            value = max(value, suite.CHECK_FLOOR_NS)
        return value

    def ratio(self, entry, subject):
        """How many times that other subject's time this is; None where that says nothing."""
        other = self.median(entry, subject)
        if other is None or other <= 0 or "median" not in entry or entry["subject"] == subject:
            return None
        if entry["figure"] == "check" and "floor" in (subject, entry["subject"]):
            return None  # the floor is taken away already
        return round(entry["median"] / other, 3)

    def is_met(self, entry, target):
        if target.relation == "at most":
            return entry["median"] <= target.limit
        other = self.median(entry, target.against)
        if other is None:
            return None
        if target.relation == "at most above":
            return entry["median"] <= other + target.limit
        if target.relation == "at most times":
            return entry["median"] <= other * target.limit
        return entry["median"] >= other * target.limit

    def targets(self, entry):
        """What we hold ourselves to here, in words, and whether it was met; None: what it is compared with is missing."""
        key = (entry["figure"], entry["subject"], entry["producers"])
        return [{"text": words(target, entry["unit"]), "met": self.is_met(entry, target)} for target in suite.TARGETS
                if key == target[:3] and target.size in (None, entry["size"])]


def words(target, unit):
    if target.relation == "at most":
        return f"at most {target.limit:,g} {unit}"
    if target.relation == "at most above":
        return f"at most {target.limit:g} {unit} above {target.against}"
    return f"{target.relation.removesuffix(' times')} {target.limit:g} x {target.against}"


def judge(entries):
    """Add ratios and targets to each entry that was measured."""
    judged = Judge(entries)
    for entry in entries:
        if "median" in entry:
            ratios = {subject: judged.ratio(entry, subject) for subject in ("floor", "tether", "tether-batch")}
            entry["ratios"] = {subject: ratio for subject, ratio in ratios.items() if ratio is not None}
            entry["targets"] = judged.targets(entry)
    return entries
