/* list.h - a doubly linked list whose links lie in its members.
 * SPDX-License-Identifier: MIT */
#ifndef HTTPD_LIST_H
#define HTTPD_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *prev, *next;
};

/* The object of type `type` whose `member` is at `pointer`. */
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct link *list)
{
	list->prev = list->next = list;
}

static inline bool list_is_empty(const struct link *list)
{
	return list->next == list;
}

/* Also leaves the link empty, so that it may be removed again. */
static inline void list_remove(struct link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

static inline void list_append(struct link *list, struct link *link)
{
	link->prev = list->prev;
	link->next = list;
	list->prev->next = link;
	list->prev = link;
}

#endif
