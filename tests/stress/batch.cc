/* batch.cc - threads that collect what they drop, to owners that come and go, or interrupted by handlers: each object ends
 * once, what one thread sends to one owner arrives in order, and the books balance.
 * SPDX-License-Identifier: MIT
 *
 * Each sender has a row of items at each home. The home binds those that are IDLE; the sender drops them in turn, some
 * alone, some in batches that it ends, flushes or leaves by a post, at any moment. Homes end at any moment, too, and then
 * it is the senders who find their orphans. IDLE -> BOUND -> TAKEN -> IDLE. */
#include "stress.h"

#include <tether/tether.h>

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <csignal>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

using stress::doze;
using stress::Random;

namespace
{

constexpr unsigned senders = 2, homes = 2, items_per_row = 256;

enum State : unsigned { IDLE, BOUND, TAKEN };

struct Item {
	std::atomic<unsigned> state{IDLE};
	std::atomic<tether_owner_t> home{0};
	uint64_t number = 0; /* the sender's, of this life of the home; it is handed over by the drop */
	struct tether tag = {0, 0, 0, 0};
};

struct Letter {
	struct tether_message message;
	std::atomic<bool> is_idle{true};
	uint64_t number = 0;
	unsigned sender = 0;
};

struct Row {
	std::array<Item, items_per_row> items;
	std::array<Letter, 8> letters;
};

std::array<std::array<Row, homes>, senders> rows; /* [sender][home] */
std::array<std::atomic<tether_owner_t>, homes> owners;
std::atomic<uint64_t> taken{0}, ended{0}, posted{0}, told{0};
std::atomic<bool> is_over{false};

/* Of the home that the thread is. */
thread_local std::array<uint64_t, senders> last_seen;

void expect_next(unsigned sender, uint64_t number)
{
	MUST(number > last_seen[sender]);
	last_seen[sender] = number;
}

void item_destroy(void *pointer)
{
	Item *item = static_cast<Item *>(pointer);
	tether_owner_t home = item->home;

	MUST(home == tether_self_ || !tether_owner_is_alive(home));
	if (home == tether_self_)
		for (unsigned sender = 0; sender < senders; sender++)
			for (const Row &row : rows[sender])
				if (item >= &row.items.front() && item <= &row.items.back())
					expect_next(sender, item->number);
	ended++;
	MUST(item->state.exchange(IDLE) == TAKEN);
}

void letter_read(struct tether_message *message, enum tether_fate fate)
{
	Letter *letter = reinterpret_cast<Letter *>(message); /* its first member */

	if (fate == TETHER_RUN)
		expect_next(letter->sender, letter->number);
	told++;
	letter->is_idle = true;
}

const struct tether_type item_type = TETHER_TYPE_POLICY(Item, tag, item_destroy, TETHER_ANYWHERE, TETHER_WARN);

/* ---- Homes ----------------------------------------------------------------------------------- */

void bind_idle(unsigned home)
{
	for (auto &of_sender : rows)
		for (Item &item : of_sender[home].items) {
			if (item.state != IDLE)
				continue;
			item.home = tether_self_;
			tether_bind(&item.tag, &item_type);
			item.state = BOUND;
		}
}

void live(unsigned home, uint64_t life)
{
	Random random(UINT64_C(1000) * life + home);

	last_seen.fill(0);
	owners[home] = tether_self();
	if (random.below(2))
		MUST(tether_fd() >= 0);
	for (unsigned turns = 1 + random.below(100); turns > 0; turns--) {
		bind_idle(home);
		if (random.below(4) == 0)
			doze(random.below(50));
		if (random.below(2))
			(void)tether_park();
		tether_unpark();
		tether_drain(random.below(2) * random.below(50));
	}
	if (random.below(2))
		tether_owner_exit();
}

void reside(unsigned home)
{
	for (uint64_t life = 0; !is_over; life++)
		std::thread(live, home, life).join();
}

/* ---- Senders --------------------------------------------------------------------------------- */

struct Sender {
	unsigned me;
	Random random;
	uint64_t number = 0;
	std::array<unsigned, homes> next{};

	void drop_some(unsigned home, unsigned count)
	{
		for (; count > 0; count--) {
			Item &item = rows[me][home].items[next[home]++ % items_per_row];

			if (item.state != BOUND)
				continue;
			item.state = TAKEN;
			item.number = ++number;
			taken++;
			MUST(tether_drop(&item.tag) != TETHER_REFUSED);
		}
	}
	void post(unsigned home)
	{
		if (owners[home] == 0)
			return;
		for (Letter &letter : rows[me][home].letters) {
			if (!letter.is_idle)
				continue;
			letter.is_idle = false;
			letter.number = ++number;
			letter.sender = me;
			posted++;
			(void)tether_post(owners[home], &letter.message);
			return;
		}
	}
	void turn()
	{
		bool is_batch = random.below(4) > 0 && tether_batch_begin() == 0;

		for (unsigned part = random.below(4); part > 0; part--) {
			drop_some(random.below(homes), random.below(60));
			if (random.below(2))
				post(random.below(homes));
			else if (is_batch && random.below(2))
				tether_batch_flush();
		}
		if (is_batch)
			tether_batch_end();
	}
};

void send(unsigned me, unsigned rounds)
{
	Sender sender{me, Random(77 + me)};

	tether_self();
	for (unsigned round = 0; round < rounds; round++) {
		if (me == 0)
			stress::at("batches", round);
		sender.turn();
		if (sender.random.below(16) == 0)
			tether_drain(0); /* what came back */
	}
}

void complain(const struct tether_report *report, void *)
{
	fputs(report->text, stderr);
	MUST(!"a report");
}

TEST(Batch, KeepsTheOrderToOwnersThatComeAndGo)
{
	struct tether_counters total;
	std::vector<std::thread> all, residents;

	MUST(tether_set_option("stall_ms", "0") == 0);
	tether_set_report_callback(complain, nullptr);
	for (auto &of_sender : rows)
		for (Row &row : of_sender)
			for (Letter &letter : row.letters)
				tether_message_init(&letter.message, letter_read);
	for (unsigned home = 0; home < homes; home++)
		residents.emplace_back(reside, home);
	for (unsigned me = 0; me < senders; me++)
		all.emplace_back(send, me, stress::scaled(400000));
	for (std::thread &thread : all)
		thread.join();
	is_over = true;
	for (std::thread &thread : residents)
		thread.join();
	MUST(ended == taken);
	MUST(told == posted);
	MUST(tether_stats(0, &total) == 0);
	MUST(total.sent == total.queued && total.pending == 0 && total.leaked == 0);
	MUST(taken > 0);
	tether_set_report_callback(nullptr, nullptr);
}

/* ---- Handlers -------------------------------------------------------------------------------- */

/* One thread drops what is a logical owner's, and drains that: it does little else, so that is what is interrupted. */
struct Interrupted {
	static constexpr unsigned count = 64;
	struct Thing {
		unsigned ends = 0;
		struct tether tag = {0, 0, 0, 0};
	};

	tether_owner_t strand = 0;
	std::array<Thing, count> things;
	std::array<Letter, 16> letters;
	std::atomic<uint64_t> handled{0};
	timer_t timer;

	void start_timer(void (*handler)(int))
	{
		struct sigaction action = {};
		struct sigevent event = {};
		struct itimerspec every = {{0, 100000}, {0, 100000}};

		action.sa_handler = handler;
		action.sa_flags = SA_RESTART;
		sigaction(SIGRTMIN, &action, nullptr);
		event.sigev_notify = SIGEV_THREAD_ID;
		event.sigev_signo = SIGRTMIN;
		event.sigev_notify_thread_id = static_cast<pid_t>(syscall(SYS_gettid));
		MUST(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
		MUST(timer_settime(timer, 0, &every, nullptr) == 0);
	}
	void post()
	{
		handled++;
		for (Letter &letter : letters) {
			if (!letter.is_idle)
				continue;
			letter.is_idle = false;
			MUST(tether_post(strand, &letter.message) == 0);
			return;
		}
	}
	void round();
};

Interrupted interrupted;

void thing_end(void *thing)
{
	static_cast<Interrupted::Thing *>(thing)->ends++;
}

const struct tether_type thing_type = TETHER_TYPE(Interrupted::Thing, tag, thing_end);

void Interrupted::round()
{
	tether_owner_t previous = tether_owner_enter(strand);
	for (Thing &thing : things) {
		thing.ends = 0;
		tether_bind(&thing.tag, &thing_type);
	}
	tether_owner_leave(previous);
	{
		TETHER_BATCH();
		for (Thing &thing : things)
			MUST(tether_drop(&thing.tag) == TETHER_BATCHED);
	}
	previous = tether_owner_enter(strand);
	tether_drain(0);
	tether_owner_leave(previous);
	for (const Thing &thing : things)
		MUST(thing.ends == 1);
}

TEST(Batch, IsWholeWhereverAHandlerComes)
{
	unsigned rounds = stress::scaled(30000);

	MUST(tether_set_option("stall_ms", "0") == 0);
	tether_set_report_callback(complain, nullptr);
	MUST(tether_owner_create("strand", &interrupted.strand) == 0);
	for (Letter &letter : interrupted.letters)
		tether_message_init(&letter.message, [](struct tether_message *message, enum tether_fate fate) {
			MUST(fate == TETHER_RUN);
			reinterpret_cast<Letter *>(message)->is_idle = true;
		});
	tether_self();
	interrupted.start_timer([](int) { interrupted.post(); });
	for (unsigned round = 0; round < rounds; round++) {
		stress::at("handlers", round);
		interrupted.round();
	}
	timer_delete(interrupted.timer);
	MUST(tether_owner_end(interrupted.strand) == 0);
	tether_set_report_callback(nullptr, nullptr);
}

} // namespace
