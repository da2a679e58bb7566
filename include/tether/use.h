/* use.h - objects that any thread may use, but never two at once.
 * SPDX-License-Identifier: MIT
 *
 *     void cache_put(struct cache *c, struct entry *e)
 *     {
 *             TETHER_SCOPE(&c->tether);          // until the end of this block
 *             ...
 *     }
 *
 * For what a lock, a queue or the program's own order protects: it is not one itself. It makes nobody wait and
 * orders nothing, so that what is missing without it is missing with it, and ThreadSanitizer still sees it. It
 * tells when two overlap, and who both are. Users are owners: one may enter again inside itself (functions call each
 * other), and a logical owner that changes its thread inside stays the same user.
 *
 * Whoever is inside leaves before it drops the object, ends it or gives it away. An owner may call tether_drop_later()
 * of its bound object inside as well, and others may drop that at any time, as it waits for the owner's next drain.
 *
 * Fork: who is inside in the thread that forked is so in the child. Signal handlers: where the thread has an owner;
 * a handler is the same user as what it interrupted. Thread exit: if a user ends inside, the next one that enters is
 * told, and is then inside. Leaving by longjmp() leaves nothing; nor does TETHER_SCOPE leave when a thread is
 * cancelled or an exception passes through C that was compiled without -fexceptions. dlclose: see tag.h. */
#ifndef TETHER_USE_H
#define TETHER_USE_H

#include <tether/tag.h>

TETHER_BEGIN_

/* Private; called by the macros below. False: the check has failed, and is to say so. */
TETHER_API bool tether_use_enter_(struct tether *tag, const char *file, int line, const char *function);
TETHER_API void tether_use_leave_(struct tether *tag, const char *file, int line, const char *function);

TETHER_INLINE_ void tether_enter_(struct tether *tag, const char *file, int line, const char *function)
{
	if (TETHER_UNLIKELY_(!tether_use_enter_(tag, file, line, function)))
		(void)tether_check_failed_(tag, file, line, function);
}

TETHER_INLINE_ struct tether *tether_scope_enter_(struct tether *tag, const char *file, int line, const char *function)
{
	tether_enter_(tag, file, line, function);
	return tag;
}

TETHER_INLINE_ void tether_scope_leave_(struct tether **tag)
{
	tether_use_leave_(*tag, NULL, 0, NULL);
}

/** TETHER_ENTER(tag): from here on the calling owner uses the object; it is reported if another one does.
 * TETHER_LEAVE(tag): no longer. As many as there were ENTERs, by the same owner.
 * TETHER_SCOPE(tag): a declaration: enters, and leaves at the end of the block, however that is reached.
 * Unbound and shared objects may be entered by anybody. All others are checked as by TETHER_CHECK: bound ones are
 * entered by their owner, lent and following ones are only checked, and nobody is told if they are dropped inside.
 * What is reported (TETHER_OVERLAP, or what a check says) is not entered, and the LEAVE that comes for it is ignored.
 * A LEAVE by one who is not inside is reported.
 * With checks off all three type-check their argument, do not evaluate it, and compile to nothing: so ENTER and LEAVE
 * belong in code that is compiled alike.
 * Any thread; a signal handler too where the thread has an owner. Wait-free while nobody is caught. May allocate as
 * tether_self() does. Never changes who owns the object. */
#if TETHER_CHECKS
#define TETHER_ENTER(tag) tether_enter_((tag), __FILE__, __LINE__, __func__)
#define TETHER_LEAVE(tag) tether_use_leave_((tag), __FILE__, __LINE__, __func__)
#define TETHER_SCOPE_NAMED_(tag, number) \
	struct tether *tether_scope_##number##_ __attribute__((cleanup(tether_scope_leave_), unused)) = \
		tether_scope_enter_((tag), __FILE__, __LINE__, __func__)
#else
#define TETHER_ENTER(tag) ((void)sizeof(tether_use_enter_((tag), NULL, 0, NULL)))
#define TETHER_LEAVE(tag) TETHER_ENTER(tag)
#define TETHER_SCOPE_NAMED_(tag, number) enum { tether_scope_##number##_ = sizeof(tether_use_enter_((tag), NULL, 0, NULL)) }
#endif
#define TETHER_SCOPE_NUMBERED_(tag, number) TETHER_SCOPE_NAMED_(tag, number)
#define TETHER_SCOPE(tag) TETHER_SCOPE_NUMBERED_(tag, __COUNTER__)

TETHER_END_

#endif
