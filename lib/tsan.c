/* tsan.c - ThreadSanitizer's own reports name our types.
 * SPDX-License-Identifier: MIT
 *
 * Two things are said in TSan's words. A block of memory that begins with an object is labelled when that is
 * bound: a race on any of its fields then says "Location is struct conn of size 128" in place of "heap block".
 * And a check that fails counts as a write to the tag, where each check that holds is an atomic read: if
 * nothing orders the two threads, TSan reports them as "wrong-thread use of struct conn", with both
 * stacks, whatever fields they went on to touch. If something orders them, it stays silent, and our own report is
 * the only one. A program without failing checks gets no report from either.
 *
 * Invariant: a type's place in the table is taken once and for all, by the CAS on its `type`. */
#include <stdatomic.h>

#include "internal.h"
#include "text.h"

extern void *__tsan_external_register_tag(const char *type) __attribute__((weak));
extern void __tsan_external_register_header(void *label, const char *header) __attribute__((weak));
extern void __tsan_external_assign_tag(void *object, void *label) __attribute__((weak));
extern void __tsan_external_write(void *address, void *caller, void *label) __attribute__((weak));
extern size_t __sanitizer_get_allocated_size(const volatile void *block) __attribute__((weak));

/* TSan has labels for 1022 types of everybody, and ends the program that wants more. Types beyond ours
 * have no label. */
#define PLACES 128

static struct place {
	_Atomic(const struct tether_type *) type; /* NULL: free */
	_Atomic(void *) label;                    /* TSan's number; NULL: not yet */
} places[PLACES];

static void *make_label(const struct tether_type *type)
{
	const char *name = type->name ? type->name : "an object";
	void *label = __tsan_external_register_tag(name);
	char header[128];
	struct tetheri_text text = {.bytes = header, .size = sizeof header};

	tetheri_put(&text, "wrong-thread use of %s", name);
	__tsan_external_register_header(label, header); /* it keeps a copy, as of the name */
	return label;
}

/* NULL: none, or another thread is making it. */
static void *label_of(const struct tether_type *type)
{
	for (size_t probe = 0; probe < PLACES; probe++) {
		struct place *place = &places[((uintptr_t)type / _Alignof(struct tether_type) + probe) % PLACES];
		const struct tether_type *found = NULL;

		if (atomic_compare_exchange_strong_explicit(&place->type, &found, type, memory_order_relaxed, memory_order_relaxed)) {
			void *label = make_label(type);
			/* Release: what the runtime noted about the label, before whoever uses it. */
			atomic_store_explicit(&place->label, label, memory_order_release);
			return label;
		}
		if (found == type) /* acquire: pairs with that release */
			return atomic_load_explicit(&place->label, memory_order_acquire);
	}
	return NULL;
}

void tetheri_tsan_start(struct tether *tag, const struct tether_type *type)
{
	void *object = (char *)tag - type->offset;

	tetheri_tsan_release(tag);
	/* Not a block that has the object somewhere inside, among others: the label would be theirs, too. */
	if (!__tsan_external_assign_tag || !__sanitizer_get_allocated_size || __sanitizer_get_allocated_size(object) == 0)
		return;
	void *label = label_of(type);
	if (label)
		__tsan_external_assign_tag(object, label);
}

#ifdef TETHERI_TSAN_SEES_US
#define CALLER_FRAME(address) ((void)(address), NULL) /* TSan has it already */
#else
#define CALLER_FRAME(address) ((void *)(uintptr_t)(address))
#endif

void tetheri_tsan_report(const struct tether *tag, const struct tether_type *type, const void *address)
{
	void *label = __tsan_external_write ? label_of(type) : NULL;

	if (label)
		__tsan_external_write((void *)(uintptr_t)&tag->owner_, CALLER_FRAME(address), label);
}
