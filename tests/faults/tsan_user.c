/* tsan_user.c - a program under ThreadSanitizer that passes plain fields to another thread through the
 * library, which was built without it, and trusts it for the order.
 * SPDX-License-Identifier: MIT */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include <tether/tether.h>

#define COUNT 1000

struct object {
	int value; /* plain: written by one thread, read by another */
	struct tether tether;
};

struct letter {
	struct tether_message message;
	int value;
};

static int sum;
static struct object objects[COUNT], claimed, orphan;
static struct letter letters[COUNT];
static tether_owner_t home; /* stored and loaded relaxed, when all is bound: it orders nothing */

static void object_destroy(void *object)
{
	sum += ((struct object *)object)->value;
}

static void orphan_destroy(void *object)
{
	if (((struct object *)object)->value != 1)
		abort();
}

static void letter_read(struct tether_message *message, enum tether_fate fate)
{
	assert(fate == TETHER_RUN);
	sum += ((struct letter *)message)->value;
}

static const struct tether_type object_type = TETHER_TYPE(struct object, tether, object_destroy);
static const struct tether_type claimed_type = TETHER_TYPE(struct object, tether, NULL);
static const struct tether_type orphan_type =
	TETHER_TYPE_POLICY(struct object, tether, orphan_destroy, TETHER_ANYWHERE, TETHER_LEVEL_DEFAULT);

static void *send(void *unused)
{
	tether_owner_t to;

	while ((to = __atomic_load_n(&home, __ATOMIC_RELAXED)) == 0)
		;
	for (int i = 0; i < COUNT; i++) {
		objects[i].value = 1;
		tether_drop(&objects[i].tether);
		tether_message_init(&letters[i].message, letter_read);
		letters[i].value = 1;
		if (tether_post(to, &letters[i].message) != 0)
			abort();
	}
	if (!tether_claim(&claimed.tether) || claimed.value != 1)
		abort();
	while (tether_owner_is_alive(to))
		;
	if (tether_drop(&orphan.tether) != TETHER_ORPHANED)
		abort();
	return unused;
}

int main(void)
{
	size_t handled = 0;
	pthread_t sender;

	if (pthread_create(&sender, NULL, send, NULL) != 0)
		return 1;
	for (int i = 0; i < COUNT; i++)
		tether_bind(&objects[i].tether, &object_type);
	claimed.value = 1;
	tether_bind(&orphan.tether, &orphan_type);
	tether_bind_later(&claimed.tether, &claimed_type);
	__atomic_store_n(&home, tether_self(), __ATOMIC_RELAXED);
	while (handled < 2 * COUNT)
		handled += tether_drain(0);
	orphan.value = 1;
	tether_owner_exit();
	pthread_join(sender, NULL);
	return sum == 2 * COUNT ? 0 : 1;
}
