/* logical.cc - threads that enter and leave owners at random: one is inside at a time, and what is sent to an owner, by
 * others or by a signal handler in the middle of entering, is run once, at home.
 * SPDX-License-Identifier: MIT */
#include "stress.h"

#include <tether/tether.h>

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <memory>
#include <utility>

using stress::Random;
using stress::spin;

namespace
{

constexpr unsigned visitors = 3;
constexpr unsigned owners = 5;

struct Item {
	tether_owner_t home;
	std::atomic<unsigned> destroyed{0};
	struct tether tag;

	explicit Item(tether_owner_t owner) : home(owner), tag{} {}
	Item() : Item(0) {}
};

void item_destroy(void *pointer)
{
	Item *item = static_cast<Item *>(pointer);

	MUST(tether_self() == item->home);
	MUST(++item->destroyed == 1);
}

void guest_destroy(void *pointer)
{
	MUST(++static_cast<Item *>(pointer)->destroyed == 1);
}

const struct tether_type item_type = TETHER_TYPE(Item, tag, item_destroy);
const struct tether_type guest_type = TETHER_TYPE_POLICY(Item, tag, guest_destroy, TETHER_ANYWHERE, TETHER_COUNT);

tether_owner_t create()
{
	tether_owner_t owner;

	MUST(tether_owner_create("one of few", &owner) == 0);
	return owner;
}

/* ---- One at a time --------------------------------------------------------------------------- */

/* What belongs to an owner; plain, as only one thread is inside at a time. */
struct Room {
	std::atomic<tether_owner_t> owner{0}; /* it ends, and is made anew */
	tether_owner_t occupant = 0;
	uint64_t visits = 0;
	std::unique_ptr<Item> guest; /* a visitor left it; another one drops it, from outside */
	std::atomic<Item *> lost{nullptr};
};

struct House {
	std::array<Room, owners> rooms;
	std::atomic<uint64_t> visits{0}, refused{0}, ended{0};
};

class Visitor
{
public:
	Visitor(House &house, unsigned number) : house_(house), random_(number) {}
	void live(unsigned rounds)
	{
		own_ = tether_self();
		for (unsigned round = 0; round < rounds; round++) {
			Room &room = house_.rooms[random_.below(owners)];

			if (random_.below(64) == 0)
				end(room);
			else
				visit(room, random_.below(4) == 0);
			drop_what_is_lost(house_.rooms[random_.below(owners)]);
		}
	}

private:
	void visit(Room &room, bool nests)
	{
		tether_owner_t owner = room.owner;
		tether_owner_t previous = tether_owner_enter(owner);

		if (previous == 0) {
			house_.refused++;
			return;
		}
		MUST(tether_self() == owner);
		MUST(std::exchange(room.occupant, own_) == 0);
		room.visits++;
		house_.visits++;
		if (nests)
			visit(house_.rooms[random_.below(owners)], false);
		spin(random_.below(50));
		leave_a_guest(room, owner);
		tether_drain(0);
		MUST(std::exchange(room.occupant, 0) == own_);
		tether_owner_leave(previous);
		MUST(tether_self() == previous);
	}
	/* An object of this owner's, for whoever comes by. */
	static void leave_a_guest(Room &room, tether_owner_t owner)
	{
		if (room.guest && room.guest->destroyed == 0)
			return;
		room.guest = std::make_unique<Item>(owner);
		tether_bind(&room.guest->tag, &guest_type);
		room.lost.store(room.guest.get(), std::memory_order_release);
	}
	static void drop_what_is_lost(Room &room)
	{
		Item *item = room.lost.exchange(nullptr, std::memory_order_acquire);

		if (item)
			MUST(tether_drop(&item->tag) != TETHER_REFUSED);
	}
	void end(Room &room)
	{
		if (tether_owner_end(room.owner) != 0)
			return;
		house_.ended++;
		room.owner = create();
	}

	House &house_;
	Random random_;
	tether_owner_t own_ = 0;
};

TEST(Enter, OneThreadIsInsideAtATime)
{
	const unsigned rounds = stress::scaled(400000);
	House house;
	std::vector<std::thread> threads;
	uint64_t visits = 0;

	tether_set_level(TETHER_COUNT);
	for (Room &room : house.rooms)
		room.owner = create();
	stress::at("entering at random", 0);
	for (unsigned number = 0; number < visitors; number++)
		threads.emplace_back([&, number] { Visitor(house, number).live(rounds); });
	{
		std::vector<pthread_t> handles;
		for (std::thread &thread : threads)
			handles.push_back(thread.native_handle());
		stress::Noise noise(handles, 200);
		while (house.visits + house.refused < rounds)
			stress::doze(1000);
	}
	for (std::thread &thread : threads)
		thread.join();
	for (Room &room : house.rooms) {
		if (Item *item = room.lost)
			tether_drop(&item->tag);
		MUST(tether_owner_end(room.owner) == 0);
		MUST(!room.guest || room.guest->destroyed == 1);
		visits += room.visits;
	}
	EXPECT_EQ(visits, house.visits);
	EXPECT_GT(house.refused, 0U) << "they never met";
	EXPECT_GT(house.ended, 0U);
	tether_set_level(TETHER_LEVEL_DEFAULT);
}

/* ---- Handlers -------------------------------------------------------------------------------- */

constexpr unsigned items = 50000, at_once = 5;

struct {
	std::unique_ptr<Item[]> items;
	std::atomic<unsigned> next;
	unsigned count;
} shower;

/* In the middle of anything: some of the thread's own, and of the owners that it enters. */
void drop_some(int)
{
	unsigned at = shower.next.load(std::memory_order_relaxed);

	for (unsigned i = 0; i < at_once && at < shower.count; i++, at++)
		MUST(tether_drop_later(&shower.items[at].tag) == TETHER_QUEUED);
	shower.next.store(at, std::memory_order_relaxed);
}

void bind_all(const std::vector<tether_owner_t> &homes)
{
	for (unsigned i = 0; i < shower.count; i++) {
		tether_owner_t home = homes[i % homes.size()];
		tether_owner_t previous = home == tether_self() ? 0 : tether_owner_enter(home);

		shower.items[i].home = home;
		tether_bind(&shower.items[i].tag, &item_type);
		tether_owner_leave(previous);
	}
}

void enter_and_leave(const std::vector<tether_owner_t> &homes, Random &random)
{
	tether_owner_t outer = tether_owner_enter(homes[1 + random.below(2)]);
	tether_owner_t inner = random.below(2) == 0 ? tether_owner_enter(homes[3]) : 0;

	if (random.below(8) == 0)
		tether_drain(0);
	tether_owner_leave(inner);
	tether_owner_leave(outer);
	if (random.below(8) == 0)
		tether_drain(0);
}

TEST(Enter, HandlersInTheMiddleLoseNothing)
{
	const std::vector<tether_owner_t> homes = {tether_self(), create(), create(), create()};
	pthread_t self = pthread_self();
	struct sigaction action = {};
	Random random(1);

	shower.count = stress::scaled(items);
	shower.next = 0;
	shower.items = std::make_unique<Item[]>(shower.count);
	bind_all(homes);
	action.sa_handler = drop_some;
	action.sa_flags = SA_RESTART;
	sigaction(SIGUSR2, &action, nullptr);
	std::thread sender([&] {
		while (shower.next < shower.count) {
			pthread_kill(self, SIGUSR2);
			stress::doze(20);
		}
	});
	stress::at("handlers that drop", 0);
	while (shower.next < shower.count)
		enter_and_leave(homes, random);
	sender.join();
	/* What a handler sent to the wrong one of two owners is sent on by its drain. */
	for (int turn = 0; turn < 2; turn++) {
		for (size_t i = 1; i < homes.size(); i++) {
			tether_owner_t previous = tether_owner_enter(homes[i]);
			tether_drain(0);
			tether_owner_leave(previous);
		}
		tether_drain(0);
	}
	for (unsigned i = 0; i < shower.count; i++)
		MUST(shower.items[i].destroyed == 1);
	for (size_t i = 1; i < homes.size(); i++)
		MUST(tether_owner_end(homes[i]) == 0);
	struct tether_counters counted;
	MUST(tether_stats(0, &counted) == 0);
	EXPECT_EQ(counted.queued, counted.run_home + counted.orphaned + counted.pending);
	EXPECT_EQ(counted.sent, counted.queued);
	EXPECT_EQ(counted.pending, 0U);
}

} // namespace
