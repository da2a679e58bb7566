/* group.h - objects that follow another: a connection's streams, timers and buffers move with it, in O(1).
 * SPDX-License-Identifier: MIT
 *
 *     struct conn { struct tether_group group; ... };
 *     static const struct tether_type conn_type = TETHER_TYPE_RULES(struct conn, group.tag, conn_destroy, TETHER_GROUP);
 *
 *     tether_bind_group(&c->group, &conn_type);
 *     tether_bind_to(&s->tether, &stream_type, &c->group);   // its owner is the connection's, whoever that is
 *     tether_hand_off(&c->group.tag, to, &c->transfer);      // and all of them are `to`'s
 *
 * A child cannot be moved, lent or shared by itself. A child may be a parent too. A dropped parent is
 * destroyed after its last child; until then a child's destructor may use it. (It may give it away, too, and has left
 * it then: what becomes of it from there on is another's.) Children of a parent that is lent are the borrower's as
 * well, and die there.
 *
 * Fork, signal handlers, thread exit, dlclose: as for any object, see tag.h. */
#ifndef TETHER_GROUP_H
#define TETHER_GROUP_H

#include <tether/tag.h>

TETHER_BEGIN_

/** A tag that others may follow; embedded in place of struct tether, in an object whose type has the
 * rule TETHER_GROUP. Use `tag` as any other; the rest is private. */
struct tether_group {
	struct tether tag;
	uint64_t children_; /* how many follow it; its owner's, and atomic where it has gone */
	uint64_t waiting_;  /* children that were dropped while it is on its way */
};

/** tether_bind() for a group, which has no children yet; the same threads, costs and reports. That the type has the
 * rule TETHER_GROUP is seen by the first tether_bind_to(). */
TETHER_API void tether_bind_group(struct tether_group *group, const struct tether_type *type);

/** Bind a new object that follows `parent`: whoever may use the parent may use it, and where the parent
 * goes it goes. It overwrites what the tag held, as tether_bind(). The parent cannot be destroyed before it.
 * The thread that owns the parent (not just any that it is shared with). Wait-free after the type's first object.
 * 0. -EINVAL: `type` is no type; or the parent is not the caller's, or is dropped, or was not bound by
 * tether_bind_group() with a type that has the rule TETHER_GROUP; or the child may not be sent and its parent may.
 * All are reported, and the tag is left all zero. */
TETHER_API int tether_bind_to(struct tether *child, const struct tether_type *type, struct tether_group *parent);

TETHER_END_

#endif
