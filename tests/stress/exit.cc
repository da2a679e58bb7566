/* exit.cc - owners that end while others push to them: nothing is lost, nothing runs on a wrong
 * thread, and no wake-up is made after the end.
 * SPDX-License-Identifier: MIT
 *
 * The moment an owner has ended, its descriptor's number is taken by a decoy, into which nobody may
 * write, and its slot by the next owner, who may not run what was sent to the one before. Signals hold
 * the producers at arbitrary instructions meanwhile. */
#include "stress.h"

#include <tether/tether.h>

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <memory>

using stress::Barrier;
using stress::Random;
using stress::spin;
using stress::wait_until;

namespace
{

constexpr unsigned producers = 3;

thread_local tether_owner_t self; /* as the thread itself knows it; 0: no owner */

/* Takes the lowest free number, and knows whether somebody wrote into it. */
class Decoy
{
public:
	explicit Decoy(bool is_socket)
	{
		if (is_socket)
			MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_) == 0);
		else
			MUST((ends_[0] = ends_[1] = eventfd(0, EFD_NONBLOCK)) >= 0);
	}
	~Decoy()
	{
		close(ends_[0]);
		if (ends_[1] != ends_[0])
			close(ends_[1]);
	}
	Decoy(const Decoy &) = delete;
	Decoy &operator=(const Decoy &) = delete;

	int number() const { return ends_[0]; }
	bool is_untouched() const
	{
		uint64_t value;

		return read(ends_[1], &value, sizeof value) < 0;
	}

private:
	int ends_[2];
};

enum class Way { exit_call, return_from_thread, pthread_exit_call };

Way choose_way(Random &random)
{
	return static_cast<Way>(random.below(3));
}

/* Calls back right after the calling thread's owner has ended. Destructors of pthread keys run in the
 * order of the keys, so those of a key which is younger than the library's come after it in each round. */
class AfterTheEnd
{
public:
	AfterTheEnd()
	{
		tether_self();
		MUST(pthread_key_create(&key_, next_round) == 0);
	}
	~AfterTheEnd() { pthread_key_delete(key_); }
	AfterTheEnd(const AfterTheEnd &) = delete;
	AfterTheEnd &operator=(const AfterTheEnd &) = delete;

	/* The last thing that the thread's function does. */
	void end(Way way, void (*call)(void *), void *argument)
	{
		if (way == Way::exit_call) {
			tether_owner_exit();
			call(argument);
			return;
		}
		call_ = call;
		pthread_setspecific(key_, argument);
		if (way == Way::pthread_exit_call)
			pthread_exit(nullptr);
	}

private:
	static void next_round(void *argument)
	{
		if (tether_owner_is_alive(self))
			pthread_setspecific(key_, argument);
		else
			call_(argument);
	}

	static inline pthread_key_t key_;
	static inline thread_local void (*call_)(void *);
};

/* ---- Wake-ups on their way ------------------------------------------------------------------- */

struct Guest {
	unsigned destroyed;
	struct tether tag;
};

void guest_destroy(void *pointer)
{
	MUST(++static_cast<Guest *>(pointer)->destroyed == 1);
}

const struct tether_type guest_type = TETHER_TYPE_POLICY(Guest, tag, guest_destroy, TETHER_ANYWHERE, TETHER_COUNT);

struct Visit {
	const unsigned rounds = stress::scaled(10000);
	unsigned round;
	int fd; /* the owner's */
	AfterTheEnd after;
	Barrier gate{producers + 1};
	std::array<Guest, producers> guests;
};

void guard_the_number(void *argument)
{
	Visit *visit = static_cast<Visit *>(argument);
	Decoy decoy(visit->round % 2);

	MUST(decoy.number() == visit->fd);
	visit->gate.wait(); /* every drop has returned */
	MUST(decoy.is_untouched());
	for (const Guest &guest : visit->guests)
		MUST(guest.destroyed == 1);
}

void *receive_guests(void *argument)
{
	Visit *visit = static_cast<Visit *>(argument);
	Random random(visit->round);

	self = tether_self();
	visit->fd = tether_fd();
	for (Guest &guest : visit->guests) {
		guest.destroyed = 0;
		tether_bind(&guest.tag, &guest_type);
	}
	visit->gate.wait();
	spin(random.below(3000));
	tether_park();
	spin(random.below(3000));
	tether_unpark();
	visit->after.end(choose_way(random), guard_the_number, visit);
	return nullptr;
}

void send_guest(Visit &visit, unsigned me)
{
	Random random(visit.rounds + me);

	for (unsigned round = 0; round < visit.rounds; round++) {
		visit.gate.wait();
		spin(random.below(6000));
		enum tether_dropped dropped = tether_drop(&visit.guests[me].tag);
		MUST(dropped == TETHER_QUEUED || dropped == TETHER_ORPHANED);
		visit.gate.wait();
	}
}

TEST(Exit, DescriptorIsClosedAfterTheLastWakeUp)
{
	Visit visit;
	std::vector<std::thread> threads;
	std::vector<pthread_t> handles;

	for (unsigned me = 0; me < producers; me++) {
		threads.emplace_back([&, me] { send_guest(visit, me); });
		handles.push_back(threads.back().native_handle());
	}
	{
		stress::Noise noise(handles, 50);

		for (visit.round = 0; visit.round < visit.rounds; visit.round++) {
			pthread_t owner;

			stress::at("an owner that ends while it is woken", visit.round);
			MUST(pthread_create(&owner, nullptr, receive_guests, &visit) == 0);
			pthread_join(owner, nullptr);
		}
	}
	for (std::thread &thread : threads)
		thread.join();
}

/* ---- A slot with ever new owners ------------------------------------------------------------- */

constexpr unsigned items_per_producer = 2048;
constexpr unsigned lead = 8;        /* generations by which a producer may lag behind */
constexpr unsigned ring = 2 * lead; /* a stray of the slowest has been handled by then */

struct Item {
	enum tether_orphan policy;
	unsigned destroyed; /* written by whoever may destroy it */
	tether_owner_t home;
	struct tether tag;
};

struct Letter {
	struct tether_message message;
	unsigned calls;
	tether_owner_t home;
};

struct Generation {
	unsigned number;
	std::atomic<unsigned> begun; /* the number that producers may start with, plus 1 */
	std::atomic<bool> may_be_woken;
	AfterTheEnd *after;
	int fd; /* -1: it has its own wake-up */
	std::unique_ptr<Decoy> decoy;
	std::array<Letter, producers> letters;
	std::array<std::array<Item, items_per_producer>, producers> items;
};

tether_owner_t heir;

void item_destroy(void *pointer)
{
	Item *item = static_cast<Item *>(pointer);

	MUST(item->policy == TETHER_ANYWHERE || self == item->home || (item->policy == TETHER_HEIR && self == heir));
	MUST(++item->destroyed == 1);
}

const struct tether_type item_types[] = {
	TETHER_TYPE_POLICY(Item, tag, item_destroy, TETHER_LEAK, TETHER_COUNT),
	TETHER_TYPE_POLICY(Item, tag, item_destroy, TETHER_ANYWHERE, TETHER_COUNT),
	TETHER_TYPE_HEIR(Item, tag, item_destroy, &heir, TETHER_COUNT),
};

void letter_arrived(struct tether_message *message, enum tether_fate fate)
{
	Letter *letter = reinterpret_cast<Letter *>(message); /* its first member */

	MUST((fate == TETHER_RUN) == (self == letter->home));
	MUST(++letter->calls == 1);
}

class Succession
{
public:
	void run()
	{
		struct tether_counters before, after;
		std::vector<std::thread> threads;
		std::vector<pthread_t> handles;

		self = heir = tether_self();
		MUST(tether_stats(0, &before) == 0);
		for (unsigned me = 0; me < producers; me++) {
			threads.emplace_back([this, me] { produce(me); });
			handles.push_back(threads.back().native_handle());
		}
		all_are_owners_.wait();
		{
			stress::Noise noise(handles, 150);

			for (unsigned number = 0; number < generations_ + ring; number++)
				advance(number);
		}
		for (std::thread &thread : threads)
			thread.join();
		MUST(tether_stats(0, &after) == 0);
		MUST(after.pending == 0);
		MUST(after.queued == after.run_home + after.orphaned);
		MUST(after.sent == after.queued);
		MUST(after.leaked - before.leaked == never_destroyed_);
	}

private:
	/* When generation `number` begins, the producers are done with the one `lead` before it: so all that
	 * they sent for it lies with owners that were joined when its place in the ring is used again. */
	void advance(unsigned number)
	{
		Generation &generation = generation_[number % ring];
		pthread_t thread;

		stress::at("a slot with ever new owners", number);
		if (number >= lead && number - lead < generations_)
			wait_until([&] { return slowest() > number - lead; });
		if (number >= ring)
			verify(generation);
		if (number >= generations_)
			return;
		generation.number = number;
		generation.after = &after_;
		MUST(pthread_create(&thread, nullptr, live, &generation) == 0);
		pthread_join(thread, nullptr);
	}

	unsigned slowest() const
	{
		unsigned least = UINT_MAX;

		for (const std::atomic<unsigned> &done : done_)
			least = std::min(least, done.load(std::memory_order_acquire));
		return least;
	}

	void verify(Generation &generation)
	{
		tether_drain(0);
		MUST(!generation.decoy || generation.decoy->is_untouched());
		generation.decoy.reset();
		for (const Letter &letter : generation.letters)
			MUST(letter.calls == 1);
		for (const auto &items : generation.items) {
			for (const Item &item : items) {
				MUST(item.destroyed == 1 || item.policy == TETHER_LEAK);
				never_destroyed_ += item.destroyed == 0;
			}
		}
	}

	static void take_the_number(void *argument)
	{
		Generation *generation = static_cast<Generation *>(argument);

		generation->may_be_woken = false;
		if (generation->fd < 0)
			return;
		generation->decoy = std::make_unique<Decoy>(generation->number % 2);
		MUST(generation->decoy->number() == generation->fd);
	}

	static void wake(void *context) { MUST(static_cast<Generation *>(context)->may_be_woken); }

	static void populate(Generation &generation)
	{
		for (Letter &letter : generation.letters) {
			tether_message_init(&letter.message, letter_arrived);
			letter.calls = 0;
			letter.home = self;
		}
		for (auto &items : generation.items) {
			for (unsigned i = 0; i < items_per_producer; i++) {
				items[i].policy = item_types[i % 3].orphan;
				items[i].destroyed = 0;
				items[i].home = self;
				tether_bind(&items[i].tag, &item_types[i % 3]);
			}
		}
	}

	/* One owner's life. */
	static void *live(void *argument)
	{
		Generation &generation = *static_cast<Generation *>(argument);
		Random random(generation.number);
		unsigned turns = random.below(24);

		self = tether_self();
		generation.may_be_woken = true;
		generation.fd = random.below(4) ? tether_fd() : -1;
		if (generation.fd < 0)
			MUST(tether_set_wake(wake, &generation) == 0);
		populate(generation);
		generation.begun.store(generation.number + 1, std::memory_order_release);
		while (turns--) {
			spin(random.below(20000));
			if (random.below(2))
				tether_park();
			spin(random.below(2000));
			tether_unpark();
			tether_drain(random.below(2) * random.below(100));
		}
		generation.after->end(choose_way(random), take_the_number, &generation);
		return nullptr;
	}

	void produce(unsigned me)
	{
		Random random(UINT_MAX - me);

		/* Owners all the while: the slot that is reused must not become theirs, as they never drain. */
		self = tether_self();
		all_are_owners_.wait();
		for (unsigned number = 0; number < generations_; number++) {
			Generation &generation = generation_[number % ring];
			wait_until([&] { return generation.begun.load(std::memory_order_acquire) == number + 1; });
			unsigned post_at = random.below(items_per_producer);
			Letter &letter = generation.letters[me];

			for (unsigned i = 0; i < items_per_producer; i++) {
				if (i == post_at)
					MUST(tether_post(letter.home, &letter.message) == 0 || letter.calls == 1);
				MUST(tether_drop(&generation.items[me][i].tag) <= TETHER_ORPHANED);
			}
			done_[me].store(number + 1, std::memory_order_release);
		}
	}

	const unsigned generations_ = stress::scaled(15000);
	AfterTheEnd after_;
	Barrier all_are_owners_{producers + 1};
	std::array<Generation, ring> generation_{};
	std::array<std::atomic<unsigned>, producers> done_{};
	uint64_t never_destroyed_ = 0;
};

TEST(Exit, StraysFindTheirWayWhenSlotsAreReused)
{
	auto succession = std::make_unique<Succession>();

	succession->run();
}

} // namespace
