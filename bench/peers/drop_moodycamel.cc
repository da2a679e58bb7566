/* drop_moodycamel.cc - moodycamel::ConcurrentQueue with tokens: a queue of pointers for each producer.
 * SPDX-License-Identifier: MIT
 *
 * Each producer has its token, made before it begins, and the owner takes as many at a time as it likes best. */
#include <concurrentqueue/concurrentqueue.h>

#include <memory>
#include <vector>

#include "drop.h"

using Queue = moodycamel::ConcurrentQueue<object *>;

static std::unique_ptr<Queue> queue;
static std::unique_ptr<moodycamel::ConsumerToken> consumer;

static void init(size_t heap_size)
{
	queue = std::make_unique<Queue>(heap_size);
	consumer = std::make_unique<moodycamel::ConsumerToken>(*queue);
}

static void push(const share *mine)
{
	thread_local moodycamel::ProducerToken token(*queue);

	for (size_t i = 0; i < mine->count; i++)
		if (share_admits(mine, mine->objects[i]))
			queue->enqueue(token, mine->objects[i]);
}

static void drain()
{
	object *some[256];

	while (size_t count = queue->try_dequeue_bulk(*consumer, some, std::size(some)))
		for (size_t i = 0; i < count; i++)
			object_destroy(some[i]);
}

static drop_peer peer = {
	"moodycamel-token", BARE | WHOLE, init, objects_revive, push, drain, nullptr, false, false, false, nullptr};

__attribute__((constructor)) static void add()
{
	drop_peer_add(&peer);
}
