/* tsan_user.c - a program under ThreadSanitizer, on a library that was built without it. Without an
 * argument it passes plain fields to another thread through the library, and trusts it for the order; with `enter`,
 * through an owner that both enter; with another one, an object is used on a wrong thread.
 * SPDX-License-Identifier: MIT */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

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
static struct object *objects[COUNT], claimed, orphan;
static struct letter letters[COUNT];
static tether_owner_t home; /* stored and loaded relaxed, when all is bound: it orders nothing */

static void object_destroy(void *memory)
{
	struct object *object = memory;

	TETHER_CHECK(&object->tether);
	sum += object->value;
	free(object);
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

static tether_owner_t wait_for_home(int order)
{
	tether_owner_t to;

	while ((to = __atomic_load_n(&home, order)) == 0)
		;
	return to;
}

static void *send(void *unused)
{
	tether_self(); /* now, and the claim first: the locks of an owner's start and end would order what follows, too */
	tether_owner_t to = wait_for_home(__ATOMIC_RELAXED);

	if (!tether_claim(&claimed.tether) || claimed.value != 1)
		abort();
	TETHER_CHECK(&claimed.tether);
	for (int i = 0; i < COUNT; i++) {
		objects[i]->value = 1;
		tether_drop(&objects[i]->tether);
		tether_message_init(&letters[i].message, letter_read);
		letters[i].value = 1;
		if (tether_post(to, &letters[i].message) != 0)
			abort();
	}
	while (tether_owner_is_alive(to))
		;
	if (tether_drop(&orphan.tether) != TETHER_ORPHANED)
		abort();
	return unused;
}

static struct object *object_make(void)
{
	struct object *object = calloc(1, sizeof *object);

	if (!object)
		abort();
	return object;
}

static int pass_things_on(void)
{
	size_t handled = 0;
	pthread_t sender;

	for (int i = 0; i < COUNT; i++)
		objects[i] = object_make();
	if (pthread_create(&sender, NULL, send, NULL) != 0)
		return 1;
	for (int i = 0; i < COUNT; i++) {
		tether_bind(&objects[i]->tether, &object_type);
		TETHER_CHECK(&objects[i]->tether);
	}
	tether_bind(&orphan.tether, &orphan_type);
	tether_bind_later(&claimed.tether, &claimed_type); /* from here on the library knows all types, and takes no lock */
	claimed.value = 1;
	tether_bind_later(&claimed.tether, &claimed_type);
	__atomic_store_n(&home, tether_self(), __ATOMIC_RELAXED);
	while (handled < 2 * COUNT)
		handled += tether_drain(0);
	orphan.value = 1;
	tether_owner_exit();
	pthread_join(sender, NULL);
	return sum == 2 * COUNT ? 0 : 1;
}

/* An owner that is entered by two threads, one after the other; what tells the second one so orders nothing. */
static tether_owner_t room;
static int inside; /* plain */
static int is_free;

static void enter_after(int value)
{
	tether_owner_t before = tether_owner_enter(room);

	if (inside++ != value)
		abort();
	tether_owner_leave(before);
}

static void *visit(void *unused)
{
	tether_self(); /* now, as in send() */
	while (!__atomic_load_n(&is_free, __ATOMIC_RELAXED))
		;
	enter_after(1);
	return unused;
}

static int enter_in_turn(void)
{
	pthread_t visitor;

	tether_self();
	if (tether_owner_create("the room", &room) != 0 || pthread_create(&visitor, NULL, visit, NULL) != 0)
		return 1;
	enter_after(0);
	__atomic_store_n(&is_free, 1, __ATOMIC_RELAXED);
	pthread_join(visitor, NULL);
	return inside == 2 ? 0 : 1;
}

/* Ways to misuse one. */
static void *touch(void *object)
{
	wait_for_home(__ATOMIC_RELAXED);
	((struct object *)object)->value = 2;
	return object;
}

static void *check(void *object)
{
	wait_for_home(__ATOMIC_RELAXED);
	TETHER_CHECK(&((struct object *)object)->tether);
	return object;
}

static void *check_in_order(void *object)
{
	wait_for_home(__ATOMIC_ACQUIRE);
	TETHER_CHECK(&((struct object *)object)->tether);
	return object;
}

static int misuse(void *(*how)(void *), struct object *object, const struct tether_type *type)
{
	pthread_t other;

	if (pthread_create(&other, NULL, how, object) != 0)
		return 1;
	tether_bind(&object->tether, type);
	TETHER_CHECK(&object->tether);
	object->value = 1;
	__atomic_store_n(&home, tether_self(), how == check_in_order ? __ATOMIC_RELEASE : __ATOMIC_RELAXED);
	pthread_join(other, NULL);
	tether_drop(&object->tether);
	return 0;
}

int main(int count, char **arguments)
{
	const char *how = count == 2 ? arguments[1] : "";

	if (strcmp(how, "touch") == 0)
		return misuse(touch, object_make(), &object_type);
	if (strcmp(how, "check") == 0)
		return misuse(check, object_make(), &object_type);
	if (strcmp(how, "check-static") == 0)
		return misuse(check, &claimed, &claimed_type);
	if (strcmp(how, "check-in-order") == 0)
		return misuse(check_in_order, object_make(), &object_type);
	if (strcmp(how, "enter") == 0)
		return enter_in_turn();
	return pass_things_on();
}
