# tether-gdb.py - for gdb: commands and a pretty-printer for programs that use libtether.
# SPDX-License-Identifier: MIT
#
# gdb loads it from the library itself, or from where it is installed; or type: source tether-gdb.py
# It reads memory with the help of the library's debug information and calls nothing in the program, so it
# works wherever the program stopped, and on core files.
import os
import re
import struct
import time

import gdb
import gdb.printing

# What the words of a tag hold: tag.h and word.h.
TYPE_MAGIC = 0x7465746865722d31
MAGIC, MAGIC_MASK = 0xa5 << 48, 0xff << 48
TYPE_MASK, STATE_MASK, LABELLED = 0x0000ffffffffffc0, 0xf, 1 << 5
DROPPED_BIT, NO_OWNER_BIT, GONE = 1 << 63, 1 << 63, (1 << 64) - 1
STATES = {1: "nobody's yet", 2: "bound", 3: "changing its owner", 4: "lent", 5: "shared", 6: "on its way to another owner",
          7: "follows its parent", 8: "dropped while it changed its owner", 9: "lent, and dropped meanwhile",
          10: "dropped on its way to another owner", 11: "dropped, not destroyed yet",
          12: "dropped, not destroyed yet", 13: "destroyed"}
DEAD = 13
QUEUED = (4, 8, 9, 11, 12)  # `next_` is not where it was bound
NOBODY = 1
HALFWAY = 1 << 63  # in a slot's `inside`: logical.c

# Ids and slots: internal.h. The head of an inbox: inbox.c.
INDEX_BITS, CHUNK_SLOTS = 20, 64
CLOSED = 2
COUNT_MASK = {"i386:x86-64": 0xffff << 48, "aarch64": 0xff << 48}

SHOWN = 200  # nodes of one owner
STACK_DEPTH = 64


class Trouble(Exception):
    """Why there is no answer, for whoever asked."""


# ---- Memory, symbols, time ---------------------------------------------------------------------


def read(address, size):
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    except (gdb.error, OverflowError):
        raise Trouble(f"cannot read {size} bytes at {address:#x}") from None


def words(address, count):
    return struct.unpack(f"<{count}Q", read(address, 8 * count))


def printable(raw):
    """What a zero ends, without control characters."""
    decoded = bytes(raw).split(b"\0")[0].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in decoded)


def string_at(address, limit=100):
    found = b""
    while len(found) < limit and b"\0" not in found:
        found += read(address + len(found), 1)
    return printable(found)


def number(value):
    """Of a value that may be atomic, or a pointer."""
    return int(value.cast(gdb.lookup_type("unsigned long")))


def count(array):
    return array.type.strip_typedefs().range()[1] + 1


def function_at(pc):
    """The function that begins there or contains it."""
    found = re.search(r"<([^<>]+?)(\+\d+)?>$", gdb.Value(pc).cast(gdb.lookup_type("void").pointer()).format_string(symbols=True))
    return found[1] if found else ""


def place(pc):
    """Where a return address comes from: function (file:line)."""
    line = gdb.find_pc_line(pc - 1)
    where = f"{line.symtab.filename}:{line.line}" if line.symtab else f"{pc:#x}"
    name = function_at(pc - 1)
    return f"{name} ({where})" if name else where


def age(ns):
    """How long ago that was, by the monotonic clock; "" where nobody knows, as in a core file."""
    connection = getattr(gdb.selected_inferior(), "connection", None)
    if not ns or not connection or connection.type != "native":
        return ""
    past = max(0, time.clock_gettime_ns(time.CLOCK_MONOTONIC) - ns)
    size, unit = next(((size, unit) for size, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "us")) if past >= size), (1, "ns"))
    return f"{past / size:.1f} {unit} ago"


def joined(*parts):
    return ", ".join(part for part in parts if part)


# ---- The library -------------------------------------------------------------------------------


class Owner:
    """Who an id means. What is not known is 0 or empty."""

    def __init__(self, number=0, name="", tid=0, state="", inside=""):
        self.number, self.name, self.tid, self.state, self.inside = number, name, tid, state, inside

    def __str__(self):
        return f"'{self.name}' (owner #{self.number})" if self.number else "one that is not known any more"

    def thread(self):
        """Its thread, as the kernel and as gdb number it."""
        if not self.tid or self.state != "alive":
            return self.inside
        found = [f", thread {thread.num}" for thread in gdb.selected_inferior().threads() if thread.ptid[1] == self.tid]
        return joined(self.inside, f"tid {self.tid}{''.join(found)}")


class Copy:
    """A copy of the library: one in most programs, more where several modules contain a static one."""

    def __init__(self, chunks):
        self.symtab = chunks.symtab
        self.chunks = chunks.value()
        self.slot = gdb.lookup_type("struct tetheri_slot", self.symtab.static_block())
        self.count_mask = COUNT_MASK.get(gdb.selected_inferior().architecture().name(), 0)

    def shared(self, name):
        """A variable that the library's files share."""
        symbol = self.symtab.objfile.lookup_global_symbol(name)
        if not symbol:
            raise Trouble(f"libtether's debug information has no '{name}'")
        return symbol.value()

    def private(self, name, file):
        """A variable of one of the library's files, and the block in which its types are known."""
        for symbol in gdb.lookup_static_symbols(name):
            if symbol.symtab.objfile == self.symtab.objfile and os.path.basename(symbol.symtab.filename) == file:
                return symbol.value(), symbol.symtab.static_block()
        raise Trouble(f"libtether's debug information has no '{name}' of {file}")

    def message_type(self):
        return int(self.shared("tetheri_message_type").address)

    # Owners

    def slots_of(self, chunk):
        address = number(self.chunks[chunk])
        return gdb.Value(address).cast(self.slot.pointer()) if address else None

    def slots(self):
        """All that owners have, or had."""
        for chunk in range(count(self.chunks)):
            slots = self.slots_of(chunk)
            if not slots:
                return
            yield from (slots[i] for i in range(CHUNK_SLOTS) if number(slots[i]["id"]))

    def owner_of(self, slot):
        state = "exited" if number(slot["head"]) == CLOSED else "alive"
        who, name = number(slot["number"]), self.name(slot["name"])
        inside = number(slot["inside"]) & ~HALFWAY
        if not inside:
            return Owner(who, name, number(slot["tid"]), state)
        if inside == number(slot["id"]):
            return Owner(who, name, 0, state, "nobody inside")
        thread = self.owner(inside)
        return Owner(who, name, thread.tid, state, f"inside: '{thread.name}'")

    @staticmethod
    def name(name):
        return printable(read(int(name.address), name.type.sizeof))

    def owner(self, id):
        """None: this copy never gave out that number."""
        slots = self.slots_of((id & (1 << INDEX_BITS) - 1) // CHUNK_SLOTS)
        if not slots:
            return None
        slot = slots[id % CHUNK_SLOTS]
        if number(slot["id"]) == id:
            return self.owner_of(slot)
        if id > number(slot["id"]) or id >> INDEX_BITS < number(self.shared("tetheri_first_generation")):
            return None
        departed = self.private("departed", "name.c")[0]
        for gone in (departed[i] for i in range(count(departed))):
            if number(gone["id"]) == id:
                return Owner(number(gone["number"]), self.name(gone["name"]), state="exited")
        return Owner(state="exited")

    # What is pending

    def newest(self, head):
        return head & ~self.count_mask if head > CLOSED else 0

    def counted(self, head):
        return (head & self.count_mask) >> 48 if head > CLOSED else 0

    def pending(self, slot):
        """How many, as the library counts."""
        counts = {field.name: number(slot["counts"][field.name]) for field in slot["counts"].type.fields()}
        over = number(slot["overflow"]) - number(slot["overflow_taken"])
        depth = self.counted(number(slot["head"])) + self.counted(number(slot["late"])) + max(0, over)
        return max(0, counts["received"] + depth - counts["forwarded"] - counts["run_home"] - counts["orphaned"])

    def nodes(self, slot):
        """Tags, in the order in which the owner will come to them. (While it takes its inbox, what it takes is in no list.)"""
        yield from chain(number(slot["runner"]["later"]["first"]))
        yield from chain(number(slot["taken"]["first"]))
        for inbox in ("head", "late"):
            yield from reversed(list(chain(self.newest(number(slot[inbox])))))

    def doing(self, slot):
        kind, now = number(slot["doing"]) & ~3, number(slot["doing"]) & 1
        if not kind:
            return ""
        if kind == self.message_type():
            return f"{'is in' if now else 'last ran'} the message function {function_at(number(slot['doing_fn']))}"
        return f"{'is destroying' if now else 'last destroyed'} a {type_at(kind)[0]}"

    # Labels and history: side.c

    def side(self, tag):
        """A struct entry; None: nothing is known of the tag."""
        tables, block = self.private("tables", "side.c")
        bucket = gdb.lookup_type("struct bucket", block).pointer()
        h = tag * 0x9e3779b97f4a7c15 & GONE
        h = (h ^ h >> 32) * 0xd6e8feb86659fd93 & GONE
        for table in range(count(tables)):
            first = number(tables[table])
            if not first:
                return None
            place = gdb.Value(first).cast(bucket)[h >> 64 - 9 - table]
            for way in range(count(place["key"])):
                if number(place["key"][way]) == tag ^ GONE:
                    return place["entry"][way]
        return None

    def events(self, entry):
        """Newest first."""
        ring, noted = entry["event"], number(entry["noted"])
        return [ring[(noted - 1 - i) % count(ring)] for i in range(min(noted, count(ring)))]

    # Where an object was bound: depot.c

    def stack(self, origin):
        """What an origin says: return addresses, innermost first, and when that was."""
        if not origin >> 63:
            address = origin & (1 << 61) - 1
            return ([address] if function_at(address) else []), 0
        units, place = origin & (1 << 40) - 1, (origin & ~(1 << 63)) >> 40
        arena, block = self.private("arena", "depot.c")
        record = gdb.Value(int(arena.address) + 16 * place).cast(gdb.lookup_type("struct record", block).pointer())
        if place >= number(self.private("used", "depot.c")[0]) or number(record["object"]["key"]) != int(record["pc"].address):
            return [], 0
        depth = min(number(record["object"]["size"]) // 8, STACK_DEPTH)
        return words(int(record["pc"].address), depth), number(self.private("first_ns", "depot.c")[0]) + (units << 14)


def chain(tag):
    """Follow `next_`. A list that is damaged ends with trouble."""
    seen = set()
    while tag:
        if tag in seen or tag % 8:
            raise Trouble(f"the list of what is pending is damaged at {tag:#x}")
        seen.add(tag)
        yield tag
        tag = words(tag, 4)[2]


def copies():
    """Raises Trouble if there is none that can be read."""
    if not gdb.selected_inferior().pid:
        raise Trouble("the program is not running, and there is no core file")
    symbols = [objfile.lookup_global_symbol("tetheri_chunk") for objfile in gdb.objfiles()]
    found = [Copy(symbol) for symbol in symbols if symbol]
    if not found:
        raise Trouble(why_none())
    return found


def why_none():
    try:
        gdb.parse_and_eval("(char *)&tether_bind")
    except gdb.error:
        return "the program has not loaded libtether"
    return "libtether has no debug information: build it with -g, or install its debug symbols"


# ---- Objects -----------------------------------------------------------------------------------


def type_at(address):
    """Of a struct tether_type: its name, and where in an object the tag lies."""
    magic, name, _, offset = struct.unpack("<QQII", read(address, 24))
    if magic != TYPE_MAGIC:
        raise Trouble(f"there is no type at {address:#x}")
    return re.sub("^struct ", "", string_at(name) if name else "object"), offset


class Tag:
    """A tag in the program's memory."""

    def __init__(self, address):
        self.address = address
        self.owner_word, self.state_word, self.next, self.hint = words(address, 4)
        self.state = self.state_word & STATE_MASK
        self.is_zero = not self.owner_word and not self.state_word
        self.type = self.state_word & TYPE_MASK
        if not self.is_zero and (self.state_word & MAGIC_MASK != MAGIC or self.state not in STATES):
            raise Trouble(f"{address:#x} is no tag, or something wrote over it: its state is {self.state_word:#x}")
        self.type_name, offset = ("", 0) if self.is_zero else type_at(self.type)
        self.object = address - offset

    def home(self):
        """The id of whose it is, or was."""
        return self.hint if self.owner_word == GONE else self.owner_word & ~DROPPED_BIT

    def owner(self, known):
        """Whose it is, or was, in words; and the copy of the library that it belongs to."""
        home = self.home()
        if home in (0, NOBODY):
            return Owner(), known[0], "nobody"
        for copy in known:
            owner = copy.owner(home)
            if owner:
                return owner, copy, joined(str(owner), owner.thread(), owner.state)
        return Owner(), known[0], f"an owner that this program does not have ({home:#x})"

    def label(self, copy):
        entry = copy.side(self.address) if self.state_word & LABELLED else None
        label = entry and printable(read(int(entry["label"].address), entry["label"].type.sizeof))
        return f'"{label}"' if label else ""

    def message_function(self, known):
        """Of a node that is a message's; "": it is an object's."""
        if self.type not in [copy.message_type() for copy in known]:
            return ""
        return function_at(words(self.address + 32, 1)[0]) or "an unknown function"

    def title(self, known):
        """What it is, in a few words."""
        if self.is_zero:
            return f"never bound, at {self.address:#x}"
        function = self.message_function(known)
        if function:
            return f"message for {function}, at {self.address:#x}"
        label = self.label(self.owner(known)[1])
        return f"{self.type_name}{' ' * bool(label)}{label} at {self.object:#x}"

    def summary(self):
        """For one line among others."""
        if self.is_zero:
            return "never bound"
        try:
            known = copies()
            _, copy, whose = self.owner(known)
            if self.message_function(known):
                return joined("message", "posted", whose)
            return joined(f"{self.type_name} {self.label(copy)}".rstrip(), STATES[self.state], whose)
        except Trouble:
            return joined(self.type_name, STATES[self.state], f"owner {self.home():#x}")

    def story(self):
        """All that is known, in lines."""
        known = copies()
        if self.is_zero:
            yield self.title(known)
            return
        _, copy, whose = self.owner(known)
        if self.message_function(known):
            yield f"{self.title(known)}: posted to {whose}"
            return
        yield f"{self.title(known)}: {STATES[self.state]}"
        yield f"  {'belonged' if self.state == DEAD else 'belongs'} to {whose}"
        if self.state not in QUEUED:
            yield from bound_at(copy, self.next)
        yield from history(known, copy, self.address)


def history(known, copy, tag):
    entry = copy.side(tag)
    events = copy.events(entry) if entry else []
    if events:
        yield "  history, newest first:"
        yield from ("    " + history_line(known, copy, event) for event in events)
    if events and number(entry["noted"]) > len(events):
        yield f"    {number(entry['noted']) - len(events)} more before"


def history_line(known, copy, event):
    kind = str(event["kind"]).replace("TETHER_EVENT_", "").lower().replace("_", " ")
    by = number(event["by"])
    if by & NO_OWNER_BIT:
        who = f"thread {by & ~NO_OWNER_BIT}, which has no owner"
    else:
        who = next(filter(None, (copy.owner(by) for copy in known)), Owner())
    stack, _ = copy.stack(number(event["at"]))
    return joined(f"{kind} by {who}", age(number(event["when_ns"])), f"at {place(stack[0])}" if stack else "")


def bound_at(copy, origin):
    """Where a tag got its owner, in lines."""
    stack, when = copy.stack(origin)
    if len(stack) == 1:
        yield f"  bound {age(when)}{' ' * bool(age(when))}at {place(stack[0])}"
    elif stack:
        yield f"  bound {age(when)}{' ' * bool(age(when))}at:"
        yield from (f"    #{i} {place(pc)}" for i, pc in enumerate(stack))


def is_tag(type):
    type = type.strip_typedefs().unqualified()
    return type.code == gdb.TYPE_CODE_STRUCT and "tether" in (type.tag, type.name)


def tag_within(value):
    """The address of the first tag in a structure; None: it has none."""
    if is_tag(value.type):
        return int(value.address) if value.address else None
    type = value.type.strip_typedefs()
    if type.code not in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        return None
    fields = [field for field in type.fields() if hasattr(field, "bitpos") and not field.artificial]
    return next((tag for tag in (tag_within(value[field]) for field in fields) if tag is not None), None)


def tag_of(expression):
    """What is meant: a tag, an object with one inside, a pointer to either, or an address of a tag."""
    if not expression:
        raise Trouble("describe what? a tag, an object that has one, a pointer to either, or an address")
    value = gdb.parse_and_eval(expression)
    if value.type.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        value = value.referenced_value()
    type = value.type.strip_typedefs()
    if type.code == gdb.TYPE_CODE_INT:
        return int(value) & GONE
    if type.code == gdb.TYPE_CODE_PTR:
        target = type.target().strip_typedefs()
        if target.code not in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            return int(value)
        value = value.dereference()
    found = tag_within(value)
    if found is None:
        raise Trouble(f"there is no struct tether in '{expression}', which is a {value.type}")
    return found


# ---- Commands ----------------------------------------------------------------------------------


class Tether(gdb.Command):
    """Owners and objects of libtether: tether describe, tether owners, tether pending."""

    def __init__(self):
        super().__init__("tether", gdb.COMMAND_DATA, prefix=True)


class Command(gdb.Command):
    """A command that prints lines, or says why it cannot."""

    def invoke(self, argument, from_tty):
        try:
            for line in self.lines(argument.strip()):
                gdb.write(line + "\n")
        except (Trouble, gdb.error) as trouble:
            raise gdb.GdbError(f"tether: {trouble}") from None


class Describe(Command):
    """Tell what is known of an object: tether describe EXPRESSION

The expression is a tag (struct tether), an object that contains one, a pointer to either, or the address of a
tag. The answer: its type, label and state, whose it is, where it was bound, and its history where the program
runs with the option history=1."""

    def __init__(self):
        super().__init__("tether describe", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def lines(self, argument):
        return Tag(tag_of(argument)).story()


class Owners(Command):
    """List all owners: number, name, thread, when each last drained, what is pending, what it is doing."""

    def __init__(self):
        super().__init__("tether owners", gdb.COMMAND_DATA, gdb.COMPLETE_NONE)

    def lines(self, argument):
        slots = [(copy, slot) for copy in copies() for slot in copy.slots()]
        if not slots:
            yield "there are no owners yet"
        for copy, slot in sorted(slots, key=lambda pair: number(pair[1]["number"])):
            owner, drained, pending = copy.owner_of(slot), number(slot["drained"]), copy.pending(slot)
            yield "  " + joined(f"#{owner.number} '{owner.name}'", owner.thread(), owner.state,
                                f"drained {age(drained)}".rstrip() if drained else "never drained",
                                f"{pending} pending", copy.doing(slot))


class Pending(Command):
    """List what waits for an owner, in the order in which it will be run: tether pending [NUMBER | NAME]

Without an argument, of all owners."""

    def __init__(self):
        super().__init__("tether pending", gdb.COMMAND_DATA, gdb.COMPLETE_NONE)

    def lines(self, argument):
        wanted = argument.lstrip("#").strip("'\"")
        known = copies()
        owners = [(copy.owner_of(slot), copy, slot) for copy in known for slot in copy.slots()]
        chosen = [one for one in owners if wanted in ("", str(one[0].number), one[0].name)]
        if wanted and not chosen:
            raise Trouble(f"there is no owner '{wanted}'; 'tether owners' lists them")
        total = 0
        for owner, copy, slot in chosen:
            nodes = list(copy.nodes(slot))
            total += len(nodes)
            if nodes:
                yield f"{owner}: {len(nodes)} pending"
                yield from ("  " + Tag(node).title(known) for node in nodes[:SHOWN])
            if len(nodes) > SHOWN:
                yield f"  and {len(nodes) - SHOWN} more"
        if not total:
            yield "nothing is pending"


class TagPrinter:
    """A struct tether in one line; print/r shows its words."""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        try:
            return Tag(int(self.value.address)).summary() if self.value.address else "a tag in no memory"
        except (Trouble, gdb.error) as trouble:
            return str(trouble)


Tether()
Describe()
Owners()
Pending()
printers = gdb.printing.RegexpCollectionPrettyPrinter("libtether")
printers.add_printer("struct tether", "^tether$", TagPrinter)
gdb.printing.register_pretty_printer(gdb.current_objfile(), printers, replace=True)
