/* tag.h - the tag in an object, its type, and the check.
 * SPDX-License-Identifier: MIT
 *
 *     struct conn { int fd; struct tether tether; };
 *     static void conn_destroy(void *object);
 *     static const struct tether_type conn_type = TETHER_TYPE(struct conn, tether, conn_destroy);
 *
 *     tether_bind(&c->tether, &conn_type);      // it is this thread's now
 *     TETHER_CHECK(&c->tether);                 // first line of each function that takes one
 *     tether_drop(&c->tether);                  // from any thread; destroyed on its owner
 *
 * Fork: the forking thread's objects stay its own in the child. Those of other threads have lost their owner there:
 * using them is reported, dropping them is what their type says of orphans. Signal handlers: TETHER_CHECK,
 * TETHER_ENSURE and tether_is_mine, where the thread has an owner. Thread exit: objects left behind
 * are orphans when somebody drops them; their type's policy decides. dlclose: a type must outlive its
 * objects, so do not unload a module whose types are still in use.
 *
 * What is called wait-free or lock-free is so by default. With history=1 each event of an object takes a short lock, with
 * bind_stacks each new stack does, and so does the end of an object that has a label. */
#ifndef TETHER_TAG_H
#define TETHER_TAG_H

#include <tether/base.h>
#include <tether/role.h>

TETHER_BEGIN_

/** The tag: 32 bytes, embedded, one per object. All fields are private. All zero is a valid "not
 * bound": using it is reported, never undefined. */
struct tether {
	uint64_t owner_; /* who passes the check; atomic */
	uint64_t state_; /* type pointer, state, magic; atomic, every transition is one CAS on it */
	uint64_t next_;  /* while it lives: where and when it was bound; once dropped: the next node of the inbox */
	uint64_t hint_;  /* while it lives: who uses it, see use.h; once dropped: room for a prefetch hint */
};

/** What becomes of an object that is dropped when its owner has gone. */
enum tether_orphan {
	TETHER_LEAK = 0,     /* never destroy it: count and report it */
	TETHER_ANYWHERE = 1, /* its destructor does not care: run it on the thread that finds out */
	TETHER_HEIR = 2      /* send it to the type's heir; leak it if that has gone as well */
};

/** What a violation does. */
enum tether_level {
	TETHER_LEVEL_DEFAULT = 0, /* what tether_set_level() chose: TETHER_WARN_ONCE unless told */
	TETHER_COUNT = 1,         /* count it, print nothing */
	TETHER_WARN_ONCE = 2,     /* report each kind once per site and type, count the repeats */
	TETHER_WARN = 3,          /* report every one */
	TETHER_ABORT = 4          /* report it, then abort() */
};

/** What a type's objects may not do, and what they do besides. Or'ed together. */
enum tether_rules {
	TETHER_NO_RULES = 0,
	TETHER_UNSENDABLE = 1,      /* stays with its first owner for life: refuses each move of move.h, reported (Rust's !Send) */
	TETHER_DIES_AT_HOME = 2,    /* shared, it is destroyed on the owner that shared it; else where it is dropped */
	TETHER_GROUP = 4,           /* the tag is that of a struct tether_group, see group.h */
	TETHER_DIES_IN_CHILDREN = 8 /* what is pending for an owner that a fork left behind is destroyed in the child as well */
};

/** What the library must know of a type of object. Static and const, one per type; it must outlive
 * every object. Fill it with a TETHER_TYPE macro. (64-byte aligned: a tag keeps state in the low bits
 * of its address.) */
struct tether_type {
	uint64_t magic_;                                   /* private */
	const char *name;                                  /* shown in reports */
	uint32_t size;                                     /* of the object, bytes; shown in reports, 0: not known */
	uint32_t offset;                                   /* of the tag in the object, bytes */
	void (*destroy)(void *object);                     /* NULL: destroy_with is called */
	void (*destroy_with)(void *object, void *context); /* NULL: nothing to destroy */
	void *context;                                     /* for destroy_with */
	const tether_owner_t *heir;                        /* for TETHER_HEIR: where its number is; read atomically */
	enum tether_orphan orphan : 16;
	enum tether_level level : 16;
	unsigned rules; /* of enum tether_rules, or'ed */
} __attribute__((aligned(64)));

#define TETHER_TYPE_MAGIC_ UINT64_C(0x7465746865722d31)

/** Static initialisers of a struct tether_type, in C and in C++17.
 * TETHER_TYPE: a struct, its member of type struct tether, and its destructor.
 * TETHER_TYPE_POLICY: with an orphan policy (not TETHER_HEIR) and a level.
 * TETHER_TYPE_HEIR: with the address of a tether_owner_t that names who inherits.
 * TETHER_TYPE_RULES: with rules, and the default policy and level.
 * TETHER_TYPE_AT: everything by hand, for C++ classes that offsetof cannot take, and for destructors
 * that want a context (destroy is NULL then). */
#define TETHER_TYPE(object, member, destroy) TETHER_TYPE_POLICY(object, member, destroy, TETHER_LEAK, TETHER_LEVEL_DEFAULT)
#define TETHER_TYPE_POLICY(object, member, destroy, orphan, level) \
	TETHER_TYPE_AT(#object, sizeof(object), offsetof(object, member), destroy, NULL, NULL, NULL, orphan, level, TETHER_NO_RULES)
#define TETHER_TYPE_RULES(object, member, destroy, rules) \
	TETHER_TYPE_AT(#object, sizeof(object), offsetof(object, member), destroy, NULL, NULL, NULL, TETHER_LEAK, \
	               TETHER_LEVEL_DEFAULT, rules)
#define TETHER_TYPE_HEIR(object, member, destroy, heir, level) \
	TETHER_TYPE_AT(#object, sizeof(object), offsetof(object, member), destroy, NULL, NULL, heir, TETHER_HEIR, level, \
	               TETHER_NO_RULES)
#define TETHER_TYPE_AT(name, size, offset, destroy, destroy_with, context, heir, orphan, level, rules) \
	{ \
		TETHER_TYPE_MAGIC_, name, (uint32_t)(size), (uint32_t)(offset), destroy, destroy_with, context, heir, orphan, level, \
			(unsigned)(rules) \
	}

/* state_: bits 0-3 the state, 4-5 flags, 6-47 the type's address, 48-55 the magic, 56-63 the address's
 * pointer tag (HWASan, MTE) where there is one. */
#define TETHER_STATE_UNBOUND_ UINT64_C(1)
#define TETHER_STATE_MAGIC_ (UINT64_C(0xa5) << 48)

/** Static initialiser of an unbound tag: somebody has to tether_claim() it.
 *     static struct cache cache = { .tether = TETHER_INIT(cache_type) }; */
#define TETHER_INIT(type) \
	{ \
		0, (uint64_t)(uintptr_t) & (type) + TETHER_STATE_MAGIC_ + TETHER_STATE_UNBOUND_, 0, 0 \
	}

/** Make the calling thread's owner the owner of a new object. It overwrites whatever the tag held, so
 * it is for memory that nobody else can reach yet: new, or destroyed and used again.
 * Any thread. Wait-free after the thread's first call, which may allocate (see tether_self()), and the type's first
 * object. Reports a type that is not one; the tag is then left all zero. Where the thread can have no owner
 * the tag is left unbound, reported. */
TETHER_API void tether_bind(struct tether *tag, const struct tether_type *type);

/** Prepare a tag without an owner: the first thread that calls tether_claim() gets it. Until then
 * checks report that nobody has claimed it, and dropping it destroys it where it is dropped.
 * Any thread. Wait-free after the type's first object. Never allocates. Reports a type that is not one. */
TETHER_API void tether_bind_later(struct tether *tag, const struct tether_type *type);

/** Take an unbound object: true if it is the caller's now (also if it was already). False, without a
 * report, if another thread was first. Any thread. Lock-free. May allocate as tether_self() does.
 * Reports a tag that is zero, overwritten or already dropped, or that somebody else is inside (see use.h), and
 * returns false. */
TETHER_API bool tether_claim(struct tether *tag);

/** End a tag without running its destructor, before its memory is reused for something else. The
 * owner's thread, or anyone if it is unbound; also the last act of a destructor that keeps the memory
 * (a pool). Wait-free. Reports a tag that is another thread's, which it then ends, and one that is on
 * its way home, or has ended already, which it leaves alone. */
TETHER_API void tether_fini(struct tether *tag);

/* The cold half of the check. Private; called by the macros below. */
TETHER_API TETHER_COLD_ bool tether_check_failed_(const struct tether *tag, const char *file, int line, const char *function);
TETHER_API TETHER_COLD_ bool tether_is_mine_slow_(const struct tether *tag);

/* Private; for python.h: tell that another's object is let go here, at this place of a script; and end a tag of which
 * that was told. */
TETHER_API TETHER_COLD_ void tether_drop_elsewhere_(const struct tether *tag, const char *file, int line, const char *function);
TETHER_API TETHER_COLD_ void tether_fini_elsewhere_(struct tether *tag);

/* Relaxed is enough: only our own number can match, and we stored it, or it was stored before the
 * object reached us; any other value, however old, is a mismatch. */
TETHER_INLINE_ bool tether_matches_(const struct tether *tag)
{
	return __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED) == tether_self_;
}

TETHER_INLINE_ void tether_check_(const struct tether *tag, const char *file, int line, const char *function)
{
	if (TETHER_UNLIKELY_(!tether_matches_(tag)))
		(void)tether_check_failed_(tag, file, line, function);
}

TETHER_INLINE_ bool tether_ensure_(const struct tether *tag, const char *file, int line, const char *function)
{
	return TETHER_UNLIKELY_(!tether_matches_(tag)) ? tether_check_failed_(tag, file, line, function) : true;
}

/** Is the object the calling thread's? The same answer in every build, checks on or off, so code may
 * branch on it. Any thread, signal handlers too. Wait-free. Never reports, never claims. */
TETHER_INLINE_ bool tether_is_mine(const struct tether *tag)
{
	return tether_matches_(tag) || tether_is_mine_slow_(tag);
}

/** TETHER_CHECK(tag): report it if the object is not the calling thread's. A statement. With checks
 * off its argument is type-checked and not evaluated, and it compiles to nothing.
 * TETHER_CHECK(tag, role): that, and clang's -Wthread-safety takes the role (see role.h) as checked, in every build.
 * TETHER_ENSURE(tag): the same in every build, as an expression: false, reported, if it is not mine.
 * Any thread, signal handlers too where the thread has an owner. Wait-free while it holds; a report
 * writes to standard error. Never changes who owns the object. */
#define TETHER_CHECK(...) TETHER_THIRD_(__VA_ARGS__, TETHER_CHECK_ROLE_, TETHER_CHECK_TAG_, none)(__VA_ARGS__)
#if TETHER_CHECKS
#define TETHER_CHECK_TAG_(tag) tether_check_((tag), __FILE__, __LINE__, __func__)
#else
#define TETHER_CHECK_TAG_(tag) ((void)sizeof(tether_matches_(tag)))
#endif
#define TETHER_CHECK_ROLE_(tag, role) (TETHER_CHECK_TAG_(tag), TETHER_ASSUME(role))
#define TETHER_THIRD_(first, second, third, ...) third
#define TETHER_ENSURE(tag) tether_ensure_((tag), __FILE__, __LINE__, __func__)

TETHER_END_

#endif
