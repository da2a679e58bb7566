/* objects.cc - the peers that release objects, and shuffled objects for them; see peers/drop.h.
 * SPDX-License-Identifier: MIT */
#include "objects.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <random>

static drop_peer *peers;

void drop_peer_add(drop_peer *peer)
{
	peer->next = peers;
	peers = peer;
}

std::vector<const drop_peer *> drop_peers(const arguments &wanted, size_t heap_size)
{
	std::vector<const drop_peer *> found;

	for (drop_peer *each = peers; each; each = each->next)
		if (wanted.wants(each->subject)) {
			each->init(heap_size);
			found.push_back(each);
		}
	return found;
}

void objects_revive(object **objects, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		objects[i]->tag.owner = 1;
		objects[i]->tag.next = nullptr;
		objects[i]->tag.hint = 0;
		__atomic_store_n(&objects[i]->tag.state, STATE_ALIVE, __ATOMIC_RELEASE);
	}
}

Heap::Heap(size_t size)
{
	void *memory = mmap(nullptr, size * sizeof(object), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	madvise(memory, size * sizeof(object), MADV_NOHUGEPAGE);
	first_ = static_cast<object *>(memory);
	for (size_t i = 0; i < size; i++) {
		first_[i].value = i;
		shuffled_.push_back(&first_[i]);
	}
	std::shuffle(shuffled_.begin(), shuffled_.end(), std::mt19937_64(1));
}

Heap::~Heap()
{
	munmap(first_, size() * sizeof(object));
}

std::vector<object *> Heap::any(size_t count, size_t turn) const
{
	auto first = shuffled_.begin() + static_cast<ptrdiff_t>(turn % (size() / count) * count);

	return {first, first + static_cast<ptrdiff_t>(count)};
}

std::vector<share> shares_of(std::vector<object *> &objects, size_t producers, bool marks)
{
	const size_t each = objects.size() / producers;
	std::vector<share> shares;

	for (size_t i = 0; i < producers; i++)
		shares.push_back({&objects[i * each], each, i * each, marks});
	return shares;
}

double median(std::vector<double> values)
{
	auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);

	std::nth_element(values.begin(), middle, values.end());
	return *middle;
}
