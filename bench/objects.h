/* objects.h - the peers that release objects, and shuffled objects for them; see peers/drop.h.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_OBJECTS_H
#define BENCH_OBJECTS_H

#include <vector>

#include "pace.h"
#include "peers/drop.h"

/* Those that were built and are wanted, ready for the objects of a heap of that size. Called once, by the owner. */
std::vector<const drop_peer *> drop_peers(const arguments &wanted, size_t heap_size);

/* A heap of objects, of one line each: small pages, so that every run of the program sees the same memory. */
class Heap
{
public:
	explicit Heap(size_t size);
	~Heap();
	Heap(const Heap &) = delete;
	Heap &operator=(const Heap &) = delete;

	/* Any `count` of them, in no order; the same each time, and others in another `turn`. */
	std::vector<object *> any(size_t count, size_t turn = 0) const;
	object *begin() const { return first_; } /* as they lie */
	size_t size() const { return shuffled_.size(); }

private:
	object *first_; /* `value` is each one's place from here */
	std::vector<object *> shuffled_;
};

/* What each of `producers` pushes of `objects`, with or without the mark. */
std::vector<share> shares_of(std::vector<object *> &objects, size_t producers, bool marks);

double median(std::vector<double> values);

#endif
