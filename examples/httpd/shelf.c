/* shelf.c - memory of destroyed objects, waiting to be used again.
 * SPDX-License-Identifier: MIT
 *
 * There is no lock and no atomic here, although workers release objects too: destructors run on the
 * loop that owns the object, so only that loop ever takes from its shelf or puts back.
 * An item's tag is left as its end left it: touching the object is reported until it is used again. */
#include <assert.h>
#include <stdlib.h>

#include "core.h"

enum { BLOCK_ITEMS = 32 };

struct shelf_block {
	struct shelf_block *next;
	_Alignas(struct shelf_item) char items[];
};

void shelf_init(struct shelf *shelf, size_t item_bytes)
{
	assert(item_bytes % _Alignof(struct shelf_item) == 0);
	*shelf = (struct shelf){.item_bytes = item_bytes};
}

/* Also frees what was never put back. */
void shelf_fini(struct shelf *shelf)
{
	for (struct shelf_block *block = shelf->blocks, *next; block; block = next) {
		next = block->next;
		free(block);
	}
	shelf->blocks = NULL;
}

static void shelf_grow(struct shelf *shelf)
{
	struct shelf_block *block = calloc(1, sizeof *block + BLOCK_ITEMS * shelf->item_bytes);

	if (!block)
		return;
	block->next = shelf->blocks;
	shelf->blocks = block;
	for (size_t i = BLOCK_ITEMS; i-- > 0;) {
		struct shelf_item *item = (void *)(block->items + i * shelf->item_bytes);

		item->next = shelf->free;
		shelf->free = item;
	}
}

/* NULL: out of memory. */
void *shelf_take(struct shelf *shelf)
{
	if (!shelf->free)
		shelf_grow(shelf);
	struct shelf_item *item = shelf->free;
	if (!item)
		return NULL;
	shelf->free = item->next;
	shelf->taken++;
	return item;
}

void shelf_put(struct shelf *shelf, struct shelf_item *item)
{
	item->next = shelf->free;
	shelf->free = item;
	shelf->returned++;
}
