/* inbox.pml - an owner's inbox and its wake-ups: publish, take, arm, disarm, close, reuse; every interleaving.
 * SPDX-License-Identifier: MIT
 *
 * Follows lib/inbox.c and lib/wake.c, tether_drain(), tether_fd(), tether_set_wake(), tether_park() and
 * tether_unpark() of lib/loop.c, and the opening and ending of a slot of lib/owner.c.
 *
 * Two senders push two nodes each, to the owner that has the slot at first or to the one that has it by then. A
 * slot has two owners, one after the other. Each may be woken by a function of its own, later by a descriptor;
 * drains one node or all; lets its drains arm or parks; sleeps; and ends whenever it is awake. It may only end
 * out of its sleep once every node was handled: a wake-up that was lost leaves it asleep, which is a deadlock.
 *
 * Each access to what threads share is a step, and what its thread alone sees belongs to the step before.
 *
 * Left out: the count in the head and the look for stalls, which decide nothing here; `late` and signal handlers;
 * destructors that drop more. Memory is sequentially consistent: what order each operation needs is said in
 * docs/memory-model.md, and ThreadSanitizer sees to it. Of counters only differences decide, so only these are kept.
 *
 * Properties, as assertions and as the absence of a deadlock:
 *   - an owner never sleeps for ever while a node is in its inbox;
 *   - each node is handled once: run at home, in its sender's order, or sent the orphan's way when its owner has gone;
 *   - each ARMED that is consumed makes one wake-up, and it finds a way to make it;
 *   - no wake-up is made by a function that was replaced, or into a descriptor that was closed;
 *   - the descriptor is cleared only when no wake-up can be in it whose node the owner has yet to learn of.
 *
 * The bugs that can be planted, each by a macro of its name, are those below in #ifdef. */

#define OWNERS 2
#define SENDERS 2
#define EACH 2
#define NODES 4 /* numbered from 1 */
#define ALL 255

/* ---- The slot ---- */

#define EMPTY 0
#define ARMED 1
#define CLOSED 2
#define is_list(word) ((word) > CLOSED)
#define list_word(node) (CLOSED + (node))
#define newest(word) (is_list(word) -> (word) - CLOSED : 0)

byte head = CLOSED;
byte id;       /* the owners are 1 and 2 */
short awaited; /* ARMEDs found consumed, less wake-ups that have ended: `consumed` - `woken` */
bool wake;     /* is there a function to wake it by? */
byte write_fd; /* each owner's descriptor has that owner's number; 0: none */

byte next[NODES + 1];
byte home[NODES + 1];

/* ---- The machine ---- */

byte sum;      /* in the descriptor that is open */
byte open_fd;  /* 0: none */
bool callable; /* may the function still be called? */
bool rung;     /* it was */

/* ---- What the properties need to know ---- */

byte owner;    /* the last one that was opened */
byte unseen;   /* ARMEDs that were consumed, and the owner has not noticed */
byte handled;
bool is_handled[NODES + 1];

inline handle(node)
{
	assert(!is_handled[node]);
	is_handled[node] = true;
	handled++;
	next[node] = 0;
	home[node] = 0
}

inline run_at_home(node)
{
	assert(home[node] == owner);
	assert(node % EACH == 1 || home[node - 1] != home[node] || is_handled[node - 1]);
	handle(node)
}

inline orphan(node)
{
	assert(home[node] < owner || head == CLOSED);
	handle(node)
}

/* ---- Senders ---- */

inline read_wake()
{
	calls = wake;
	if
	:: !calls -> fd = write_fd
	:: else
	fi
}

inline wake_owner()
{
#ifndef READS_WAKE_BEFORE_CAS
	read_wake();
#endif
	if
	:: calls -> d_step { assert(callable); rung = true }
	:: else -> d_step { assert(fd != 0 && fd == open_fd); sum++ }
	fi
}

proctype sender(byte node)
{
	byte seen, fd, left = EACH;
	bool calls;

	(id); /* there is an owner */
	do
	:: left > 0 ->
		home[node] = id; /* from here on another may get the slot */
		do
		:: d_step { seen = head; next[node] = newest(seen) };
#ifdef READS_WAKE_BEFORE_CAS
			read_wake();
#endif
#ifdef WAKES_BEFORE_CAS
			if
			:: seen == ARMED -> wake_owner()
			:: else
			fi;
#endif
			atomic {
				if
				:: seen == CLOSED -> orphan(node); break
				:: seen != CLOSED && head == seen ->
					head = list_word(node);
					unseen = unseen + (seen == ARMED);
					break
				:: else
				fi
			}
		od;
		if
		:: seen == ARMED ->
#ifdef COUNTS_BEFORE_WAKE
			awaited--;
			wake_owner()
#else
#ifndef WAKES_BEFORE_CAS
			wake_owner();
#endif
#ifdef WAKES_TWICE
			awaited--;
			wake_owner();
#endif
			d_step { awaited--; assert(awaited + unseen >= 0) }
#endif
		:: else
		fi;
		atomic { seen = 0; fd = 0; calls = false; node++; left-- }
	:: else -> break
	od
}

/* ---- The owner: inbox.c ---- */

inline notice()
{
	assert(unseen == 1);
	armed = false;
	awaited++;
	outstanding++;
	unseen = 0
}

/* Newest first becomes oldest first, behind what was taken before. */
inline receive(list)
{
	node = newest(list);
	newest_node = node;
	oldest = 0;
	do
	:: node ->
		older = next[node];
		next[node] = oldest;
		oldest = node;
		node = older
	:: else -> break
	od;
	if
	:: newest_node && last -> next[last] = oldest; last = newest_node
	:: newest_node && !last -> first = oldest; last = newest_node
	:: else
	fi;
	newest_node = 0;
	oldest = 0
}

inline take()
{
	if
	:: is_list(head) ->
#ifdef TAKES_BY_TWO_STEPS
		list = head;
		d_step {
			head = EMPTY;
#else
		d_step {
			list = head;
			head = EMPTY;
#endif
			if
			:: armed -> notice()
			:: else
			fi;
			receive(list);
			list = 0
		}
	:: else
	fi
}

inline close()
{
#ifdef CLOSES_BY_TWO_STEPS
	list = head;
	d_step {
#else
	d_step {
		list = head;
#endif
		head = CLOSED;
		closed = true;
		if
		:: armed && list != ARMED -> notice()
		:: else -> armed = false
		fi;
		receive(list);
		list = 0
	}
}

inline arm()
{
	assert(!armed);
#ifdef ARMS_WITHOUT_LOOKING
	d_step { head = (closed -> CLOSED : ARMED); armed = !closed }
#else
	d_step {
		if
		:: head == EMPTY -> head = ARMED; armed = true
		:: else
		fi
	}
#endif
}

inline disarm()
{
	d_step {
		if
		:: armed && head == ARMED -> head = EMPTY; armed = false
		:: armed && head != ARMED -> notice()
		:: else
		fi
	}
}

/* ---- The owner: wake.c ---- */

#define wake_exists (has_wake || read_fd)
#define is_undone (first || (!parks && is_list(head)))

inline clear()
{
	d_step {
		if
		:: read_fd && outstanding > 0 -> assert(unseen == 0); outstanding = outstanding - sum; sum = 0
		:: else
		fi
	}
}

inline signal_self()
{
	d_step {
		if
		:: has_wake -> rung = true
		:: !has_wake && outstanding == 0 -> outstanding++; sum++
		:: else
		fi
	}
}

inline settle()
{
	d_step { undone = is_undone; settled = !wake_exists };
	if
	:: !settled && !parks && !undone ->
		if
		:: armed && (!read_fd || outstanding == 0) -> settled = true
		:: else ->
#ifndef CLEARS_WHILE_ARMED
			disarm();
#endif
			undone = is_undone;
			if
			:: !undone -> clear()
			:: else
			fi;
#ifdef CLEARS_WHILE_ARMED
			disarm();
#endif
			undone = is_undone;
			if
			:: !undone -> arm(); settled = armed
			:: else
			fi
		fi
	:: else
	fi;
#ifndef LEAVES_REST_UNSAID
	if
	:: !settled ->
		undone = is_undone;
		if
		:: undone ->
			undone = !(armed && is_list(head)); /* else its sender's wake-up is on its way */
			if
			:: undone -> signal_self()
			:: else
			fi
		:: else
		fi
	:: else
	fi;
#endif
	undone = false;
	settled = false
}

/* ---- The owner: loop.c, run.c, owner.c ---- */

inline run_node()
{
	d_step {
		node = first;
		first = next[node];
		next[node] = 0;
		if
		:: first == 0 -> last = 0
		:: else
		fi;
#ifdef RUNS_STRAYS
		run_at_home(node);
#else
		if
		:: home[node] == owner -> run_at_home(node)
		:: else -> orphan(node)
		fi;
#endif
		node = 0
	}
}

/* Up to `budget` nodes. An owner that ends closes in between, and then runs all. */
inline run_lists()
{
	do
	:: budget && first -> run_node(); budget = (budget == ALL -> ALL : budget - 1)
	:: budget && !first ->
		take();
		if
		:: !first && leaving && !closed -> close()
		:: !first && !(leaving && !closed) -> break
		:: else
		fi
	:: !budget -> break
	:: leaving && first && !closed -> close() /* others send faster than it runs */
	od;
	budget = 0
}

inline open_descriptor()
{
	d_step {
		assert(!armed && sum == 0);
		open_fd = owner;
		read_fd = owner;
#ifndef KEEPS_OLD_ACCOUNT
		outstanding = 0
#endif
	};
	write_fd = owner
}

inline await()
{
	assert(!armed);
	(awaited == 0)
}

inline set_wake()
{
	d_step { assert(!armed); callable = true };
	d_step { wake = true; has_wake = true }
}

inline set_no_wake()
{
	disarm();
#ifndef REPLACES_WITHOUT_WAITING
	await();
#endif
	d_step { wake = false; has_wake = false };
	d_step { callable = false; rung = false; must_drain = false }
}

inline end()
{
#ifndef ENDS_WITHOUT_WAITING
	await();
#endif
	d_step { wake = false; has_wake = false; callable = false; rung = false };
	d_step { write_fd = 0; read_fd = 0 };
	d_step { open_fd = 0; sum = 0 };
	d_step { assert(unseen == 0 && first == 0); outstanding = 0 }
}

/* Until it is woken; or for ever, but then every node was handled. A loop with a wake-up of its own takes it back
 * and drains; one with a descriptor finds it readable until it drains. */
inline sleep()
{
	if
	:: rung -> rung = false; must_drain = true
	:: sum > 0
	:: handled == NODES
	fi
}

inline park()
{
	parks = true;
#ifdef PARKS_ON_WORK
	if
	:: wake_exists ->
#else
	if
	:: wake_exists && !first ->
#endif
		disarm();
		undone = is_list(head);
		if
		:: undone -> undone = false
		:: else ->
			clear();
			arm();
			if
			:: armed -> sleep(); disarm()
			:: else
			fi
		fi
	:: else
	fi
}

proctype slot()
{
	byte list, node, older, oldest, newest_node; /* of one step */
	bool armed, parks;
	byte read_fd;
	short outstanding; /* `consumed` + `self_signals` - `cleared` */
	byte first, last;  /* what was taken */
	byte budget;
	bool has_wake, closed, undone, settled, leaving, must_drain;

	do
	:: owner < OWNERS ->
		d_step { owner++; parks = false; leaving = false; closed = false };
		head = EMPTY;
		id = owner;
		do
		:: wake_exists && !parks && !must_drain -> sleep()
		:: wake_exists && !must_drain -> park()
		:: true ->
			if
			:: budget = 1; must_drain = false
			:: budget = ALL; must_drain = false
			:: leaving = true; budget = ALL
			:: has_wake -> set_no_wake()
			:: !wake_exists -> set_wake()
			:: !wake_exists -> open_descriptor()
			fi;
			run_lists();
			settle();
			if
			:: leaving -> end(); break
			:: else
			fi
		od
	:: else -> break
	od;
	(_nr_pr == 2);
	assert(handled == NODES)
}

init
{
	atomic {
		run slot();
		run sender(1);
		run sender(1 + EACH)
	}
}
