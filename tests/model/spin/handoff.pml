/* handoff.pml - an object changes owners by mail, while it is dropped, its child is dropped, and owners end.
 * SPDX-License-Identifier: MIT
 *
 * Follows tether_hand_off() and what receives it in lib/move.c, the mark in lib/drop.c, lib/group.c, run_node() of
 * lib/run.c, and slots that are used again as in lib/owner.c. What an inbox is, inbox.pml proves; here it is a
 * queue that is open or closed.
 *
 *     BOUND --sender--> TRANSIT --who receives it: the receiver, or the sender again--> BOUND
 *       |                  |    '--both have gone--> DROPPED, an orphan
 *    dropper            dropper
 *       v                  v
 *    DROPPED        TRANSIT_DROPPED --who receives it--> DROPPED --at home, after its child--> DEAD
 *
 * One slot has two owners, one after the other, 1 and 3; another slot has owner 2. Owner 1 begins with an object
 * that has one child. Whoever has the object may hand it to the owner of the other slot, three times in all: enough
 * for its words to look as they looked before. Any owner may end at any moment. One thread drops the object, another
 * the child, whenever they like.
 *
 * Each access to what threads share is a step, and what its thread alone sees belongs to the step before.
 *
 * Left out: what a type wants for its orphans beyond being counted (LEAK); children of children; checks, unbinding,
 * loans; weak orders, see inbox.pml.
 *
 * Properties, as assertions, as the absence of a deadlock, and (with -DNP, fair) of a cycle without progress:
 *   - object and child: each is destroyed once, or is an orphan once, when its owner, and whoever the object is on
 *     its way to, have gone;
 *   - the object is destroyed by its owner, after its child; the child by the object's owner, never while the object is
 *     on its way (a stranded object counts as its last owner's);
 *   - a drop that meets the object on its way is finished once, by who receives it;
 *   - each hand-off that was accepted is told one fate; the object is received by whom it was sent to, or its sender;
 *   - a child that is sent after its parent, or waits for it, arrives.
 *
 * The bugs that can be planted, each by a macro of its name, are those below in #ifdef. */

#ifndef HOPS
#define HOPS 3
#endif
#ifndef LAST_OWNER
#define LAST_OWNER 3 /* 4: both slots are used again */
#endif
#ifndef CHILDREN
#define CHILDREN 1
#endif
#define NOBODY 0
#define WAITS 15 /* with its parent, until that arrives */

/* Nodes. */
#define PARENT 0
#define MESSAGE (1 + CHILDREN) /* and one more for each further hop */
#define NODES (MESSAGE + HOPS)
#define bit(node) (1 << (node))

#define BOUND 1
#define TRANSIT 2
#define TRANSIT_DROPPED 3
#define DROPPED 4
#define DEAD 5
#define is_on_its_way(word) ((word) == TRANSIT || (word) == TRANSIT_DROPPED)
#define is_dropped(word) ((word) == TRANSIT_DROPPED || (word) == DROPPED)

/* ---- The parent's words ---- */

#define BIT 16 /* nobody passes the check */
#define strip(word) ((word) & 15)
#define RUN_LATER 16

byte state = BOUND;
byte owner = 1;
byte children = CHILDREN; /* and RUN_LATER */
byte waiting;             /* its children that wait: a bit each */
bool is_open;             /* may they wait? */

/* ---- Messages: whoever holds it ---- */

byte from[NODES];
byte to[NODES];

/* ---- Slots ---- */

#define slot_of(id) ((id) & 1)

chan inbox[2] = [NODES] of { byte };
bool is_closed[2];
byte id[2];

/* ---- What the properties need to know ---- */

byte holder = 1; /* whose the parent is; nobody's on its way */
byte last = 1;   /* whose it was last */
byte hops;
bool has_gone[LAST_OWNER + 1];
bool is_told[NODES];
bool is_destroyed[MESSAGE];
bool is_orphan[MESSAGE];

inline tell(message)
{
	assert(!is_told[message]);
	is_told[message] = true;
	from[message] = NOBODY;
	to[message] = NOBODY
}

inline orphan(tag)
{
	assert(has_gone[last] && (holder != NOBODY || has_gone[strip(owner)]));
	assert(!is_destroyed[tag] && !is_orphan[tag]);
	is_orphan[tag] = true
}

inline destroy_parent()
{
	assert(holder == self && children % RUN_LATER == 0 && !is_destroyed[PARENT] && !is_orphan[PARENT]);
	is_destroyed[PARENT] = true;
	state = DEAD
}

inline destroy_child(child)
{
	assert(holder == self || (holder == NOBODY && state == DROPPED && last == self)); /* stranded */
	assert(!is_destroyed[PARENT] && !is_destroyed[child] && !is_orphan[child]);
	is_destroyed[child] = true
}

/* ---- Sending: find the slot, then publish ---- */

inline push(who, node)
{
	took = (id[slot_of(who)] == who);
	if
	:: took ->
		d_step {
			if
			:: is_closed[slot_of(who)] -> took = false
			:: else -> inbox[slot_of(who)]!node
			fi
		}
	:: else
	fi
}

/* tetheri_group_route(): where a dropped child belongs. The parent's words are read one by one: it may be BOUND
 * when we look, and have been sent off when we look whose it is, by somebody to whom it may come back. */
inline route(child)
{
	do
	:: seen = state;
		assert(seen != DEAD);
		home = owner;
		if
#ifdef TRUSTS_TORN_WORDS
		:: !is_on_its_way(seen) -> home = strip(home); break
#else
		:: seen == BOUND && home != strip(home)
		:: (seen == BOUND && home == strip(home)) || seen == DROPPED -> home = strip(home); break
#endif
		:: is_on_its_way(seen) ->
			d_step {
				took = is_open;
				waiting = (took -> waiting | bit(child) : waiting)
			};
			if
			:: took -> home = WAITS; break
			:: else
			fi
		fi
	od
}

/* tetheri_group_leave(): a child has been destroyed, or is lost; others may count as well. */
inline leave()
{
#ifdef COUNTS_BY_TWO_STEPS
	left = children - 1;
	children = left;
#else
	d_step { children--; left = children };
#endif
	again = (again || left == RUN_LATER)
}

/* The same where the parent is ours, and nobody else counts. */
inline leave_alone()
{
	left = children - 1;
	children = left
}

/* run_node() for the parent, which is dropped: at home, after its last child. */
inline run_parent()
{
	home = strip(owner);
	took = false;
	if
	:: home != self -> push(home, PARENT)
	:: else
	fi;
	if
	:: !took ->
#ifdef DEFERS_BY_TWO_STEPS
		left = children;
#endif
		d_step {
#ifndef DEFERS_BY_TWO_STEPS
			left = children;
#endif
			took = (left % RUN_LATER != 0);
			children = (took -> left | RUN_LATER : children)
		};
#ifdef FORGETS_THE_CHILD
		took = false;
#endif
		if
		:: took /* its last child will have it run again */
		:: else ->
			d_step {
				if
				:: home == self -> destroy_parent()
				:: else -> orphan(PARENT)
				fi
			}
		fi
	:: else
	fi;
	again = false
}

/* ---- Droppers: threads of their own ---- */

proctype parent_dropper()
{
	byte seen, home;
	bool took;

	do
	:: seen = state;
		if
		:: seen == BOUND ->
#ifdef READS_OWNER_BEFORE_MARK
			home = strip(owner);
#endif
			d_step {
				took = (state == BOUND);
				state = (took -> DROPPED : state)
			};
			if
			:: took -> break
			:: else
			fi
		:: seen == TRANSIT ->
			d_step {
				took = (state == TRANSIT);
				state = (took -> TRANSIT_DROPPED : state)
			};
			if
			:: took -> goto done /* whoever holds the message finishes it */
			:: else
			fi
		:: else -> goto done /* refused: it was stranded */
		fi
	od;
#ifndef READS_OWNER_BEFORE_MARK
	home = strip(owner);
#endif
	owner = home | BIT;
	push(home, PARENT);
	if
	:: took
	:: else -> d_step { orphan(PARENT) }
	fi;
done:	skip
}

proctype child_dropper(byte child)
{
	byte self = NOBODY;
	byte seen, home, before, left;
	bool took, again;

	route(child);
	do
	:: before = home;
		took = (home == WAITS);
		if
		:: home != WAITS -> push(home, child)
		:: else
		fi;
		if
		:: took -> break
		:: else -> route(child)
		fi;
		if
#ifndef ASKS_FOR_EVER
		:: home == before -> break /* the parent has not moved: its owner has gone */
#endif
		:: else
		fi
	od;
	if
	:: took
	:: else ->
		atomic { orphan(child) };
		leave();
		if
		:: again -> run_parent()
		:: else
		fi
	fi
}

/* ---- Owners ---- */

inline run_child()
{
	route(node);
	before = NOBODY;
	took = false;
	do
	:: home != self && home != before && !took ->
		before = home;
		if
		:: home == WAITS -> took = true
		:: else -> push(home, node)
		fi;
		if
		:: took
		:: else -> route(node); took = false
		fi
	:: else -> break
	od;
	if
	:: took
	:: !took && home == self -> d_step { destroy_child(node) }; leaves++
	:: !took && home != self -> d_step { orphan(node) }; leaves++
	fi
}

/* settle_down(): the object is the caller's, who receives it or has it back. */
inline settle_down()
{
	assert(self == to[node] || self == from[node]);
#ifdef RECEIVES_WITHOUT_LOOKING
	owner = self;
	d_step { holder = self; last = self; seen = TRANSIT; state = BOUND };
#else
#ifndef WRITES_OWNER_AFTER_RECEIPT
	owner = self;
#endif
	d_step {
		assert(is_on_its_way(state));
		seen = state;
		state = (seen == TRANSIT -> BOUND : DROPPED);
		holder = self;
		last = self
	};
#ifdef WRITES_OWNER_AFTER_RECEIPT
	owner = self;
#endif
#endif
	if
	:: seen == TRANSIT_DROPPED -> owner = self | BIT; again = true
	:: else
	fi;
	arrives = true
}

inline hand_off()
{
	is_open = true;
#ifdef WRITES_OWNER_BEFORE_SENDING
	owner = id[slot_of(self + 1)] | BIT;
#endif
	atomic {
		node = MESSAGE + hops;
		from[node] = self;
		to[node] = id[slot_of(self + 1)];
		took = (state == BOUND);
		if
		:: took -> state = TRANSIT; holder = NOBODY; hops++
		:: else
		fi
	};
	if
	:: took ->
		owner = to[node] | BIT;
		push(to[node], node);
		if
		:: took
		:: else -> settle_down()
		fi
	:: else -> /* it was dropped */
		d_step { from[node] = NOBODY; to[node] = NOBODY };
#ifndef LEAVES_WAITING_OPEN
		arrives = true
#endif
	fi
}

inline run_message()
{
	if
#ifdef RECEIVES_STRAYS
	:: to[node] == self || !leaving ->
#else
	:: to[node] == self && (!leaving || from[node] == self) ->
#endif
		settle_down()
	:: else ->
		took = false;
#ifndef DOES_NOT_RETURN
		if
		:: to[node] != from[node] ->
			d_step { to[node] = from[node]; owner = from[node] | BIT };
			push(from[node], node)
		:: else
		fi;
#endif
		if
		:: took
		:: else ->
			d_step { assert(is_on_its_way(state)); state = DROPPED };
			owner = from[node] | BIT;
			arrives = true;
			strands = true
		fi
	fi
}

/* tetheri_group_arrive(): the parent is here, or stranded, and its children need not wait. */
inline arrive()
{
#ifdef TAKES_WAITING_BY_TWO_STEPS
	list = waiting;
	d_step { waiting = 0; is_open = false };
#else
	d_step { list = waiting; waiting = 0; is_open = false };
#endif
	child = 1;
	do
	:: child < MESSAGE && (list & bit(child)) ->
		home = strip(owner);
		push(home, child);
		if
		:: took
		:: else -> d_step { orphan(child) }; leaves++
		fi;
		child++
	:: child < MESSAGE && !(list & bit(child)) -> child++
	:: else -> break
	od
}

/* What is left to do when the parent has arrived, or a child has left. */
inline finish()
{
	if
	:: arrives ->
		arrive();
		atomic {
			if
			:: node >= MESSAGE && to[node] != NOBODY -> tell(node) /* or the call returns it */
			:: else
			fi;
			if
			:: strands -> orphan(PARENT)
			:: else
			fi
		}
	:: else
	fi;
	do
	:: leaves ->
		is_alone = (state == BOUND);
#ifdef COUNTS_ALONE_TO_THE_END
		is_alone = (is_alone && owner == self);
#else
		is_alone = (is_alone && owner == self && !ended);
#endif
		if
		:: is_alone -> leave_alone()
		:: else -> leave()
		fi;
		leaves--
	:: !leaves && again -> run_parent()
	:: else -> break
	od;
	atomic {
		node = 0; seen = 0; home = 0; before = 0; left = 0; list = 0; child = 0;
		took = false; arrives = false; strands = false; is_alone = false
	}
}

proctype slot(byte self)
{
	byte node, seen, home, before, left, leaves, list, child;
	bool took, again, arrives, strands, is_alone, leaving, ended;

	do
	:: self <= LAST_OWNER ->
		is_closed[slot_of(self)] = false;
		id[slot_of(self)] = self;
		do
		:: if
			:: inbox[slot_of(self)]?node ->
				if
				:: node == PARENT -> again = true
				:: node > PARENT && node < MESSAGE -> run_child()
				:: else -> run_message()
				fi
			:: owner == self && hops < HOPS && !leaving -> hand_off()
			fi;
			finish()
		:: !leaving -> leaving = true /* it drains for the last time */
		:: leaving && !ended -> d_step { is_closed[slot_of(self)] = true; has_gone[self] = true; ended = true }
		:: ended && empty(inbox[slot_of(self)]) -> break
		od;
		atomic { leaving = false; ended = false; self = self + 2 }
	:: else -> break
	od
}

init
{
	byte node;

	atomic {
		id[slot_of(1)] = 1;
		id[slot_of(2)] = 2;
		run slot(1);
		run slot(2);
		run parent_dropper();
		node = 1;
		do
		:: node < MESSAGE -> run child_dropper(node); node++
		:: else -> break
		od
	};
	(_nr_pr == 1);
	node = 0;
	do
	:: node < MESSAGE -> assert(is_destroyed[node] + is_orphan[node] == 1); node++
	:: node >= MESSAGE && node < MESSAGE + hops -> assert(is_told[node]); node++
	:: else -> break
	od
}
