/* signal.cc - handlers that check, post and drop, and interrupt whatever the library is doing: nothing is lost,
 * everything happens once, and the books balance.
 * SPDX-License-Identifier: MIT
 *
 * Workers bind, drop, post, park, drain, and end their owners, one life after another. They interrupt each other by
 * two signals, and a third comes from timers; the handlers, which interrupt one another as well, drop and post too,
 * to all owners, the interrupted one included. An object's state goes IDLE -> BOUND -> TAKEN, by the one who drops
 * it, -> IDLE, by its destructor; a message's IDLE -> TAKEN -> IDLE. */
#include "stress.h"

#include <tether/tether.h>

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <mutex>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

using stress::doze;
using stress::Random;
using stress::spin;

namespace
{

/* ThreadSanitizer keeps signals back, and calls the handlers itself, one after another. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HANDLERS_WAIT
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(HANDLERS_WAIT)
constexpr bool handlers_nest = false;
#else
constexpr bool handlers_nest = true;
#endif

constexpr unsigned workers = 3;
constexpr unsigned things_per_worker = 64;

enum State : unsigned { IDLE, BOUND, TAKEN };

struct Item {
	std::atomic<unsigned> state{IDLE};
	std::atomic<tether_owner_t> home{0};
	struct tether tag = {0, 0, 0, 0};
};

struct Letter {
	struct tether_message message;
	std::atomic<unsigned> state{IDLE};
};

/* What is dropped and posted here, and comes home there. */
struct Books {
	std::atomic<uint64_t> dropped{0}, destroyed{0}, posted{0}, told{0};
	std::atomic<uint64_t> by_kill{0}, by_timer{0}, nested{0}, ends{0};
};

Books books;

bool advance(std::atomic<unsigned> &state, unsigned from, unsigned to)
{
	return state.compare_exchange_strong(from, to);
}

void item_destroy(void *pointer)
{
	Item *item = static_cast<Item *>(pointer);
	tether_owner_t home = item->home;

	MUST(home == tether_self_ || !tether_owner_is_alive(home));
	books.destroyed++;
	MUST(advance(item->state, TAKEN, IDLE));
}

void letter_read(struct tether_message *message, enum tether_fate)
{
	Letter *letter = reinterpret_cast<Letter *>(message); /* its first member */

	books.told++;
	MUST(advance(letter->state, TAKEN, IDLE));
}

const struct tether_type item_type = TETHER_TYPE_POLICY(Item, tag, item_destroy, TETHER_ANYWHERE, TETHER_WARN);

/* What a worker owns, and others drop. */
struct Seat {
	std::array<Item, things_per_worker> items;
	std::array<Letter, things_per_worker> letters;
	std::atomic<tether_owner_t> owner{0};
	std::mutex lock; /* of what follows: who interrupts the thread, and who replaces it */
	pthread_t thread;
	timer_t timer;
	std::atomic<bool> is_taken{false};
	std::atomic<unsigned> under_way[2]; /* signals that were sent and not handled yet */
};

std::array<Seat, workers> seats;
std::atomic<uint64_t> kills{0}, timers{0}, ends{0}; /* that shall have come; more in each round */
std::atomic<unsigned> longest_life{0};              /* of an owner, in turns */

thread_local Seat *seat;                            /* of this thread */
thread_local struct tether *own;                    /* an object that stays its own, NULL: none now */
thread_local std::atomic<bool> has_ended{false};    /* its owner */
thread_local std::atomic<unsigned> depth{0};        /* of handlers */
thread_local std::atomic<uint64_t> handler_seed{0}; /* handlers have no Random of their own: they nest */

bool is_over()
{
	return books.by_kill >= kills && books.by_timer >= timers && books.ends >= ends;
}

/* ---- In handlers too ------------------------------------------------------------------------- */

void drop_something(uint64_t number, enum tether_dropped (*drop)(struct tether *))
{
	Item &item = seats[number % workers].items[(number >> 8) % things_per_worker];

	if (!advance(item.state, BOUND, TAKEN))
		return;
	books.dropped++;
	MUST(drop(&item.tag) != TETHER_REFUSED);
}

void post_something(uint64_t number)
{
	tether_owner_t to = seats[number % workers].owner;
	Letter &letter = seat->letters[(number >> 8) % things_per_worker];

	if (to == 0 || !advance(letter.state, IDLE, TAKEN))
		return;
	books.posted++;
	int error = tether_post(to, &letter.message);
	MUST(error == 0 || error == -ESRCH);
}

void handle(int signal)
{
	int saved_errno = errno;
	uint64_t number = handler_seed.fetch_add(UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9) >> 16;

	books.nested += depth.fetch_add(1) > 0;
	errno = 4242;
	/* Before it is an owner, and after that has ended, a thread's handlers have nothing to do here. */
	if (tether_self_ != TETHER_NOBODY_ && !has_ended) {
		if (own)
			TETHER_CHECK(own);
		MUST(!own || tether_is_mine(own));
		drop_something(number, tether_drop_later);
		post_something(number >> 4);
	}
	MUST(errno == 4242);
	depth.fetch_sub(1);
	if (signal == SIGRTMIN) {
		books.by_timer++;
	} else {
		books.by_kill++;
		seat->under_way[signal - SIGRTMIN - 1]--;
	}
	errno = saved_errno;
}

void install_handlers()
{
	struct sigaction action = {};

	action.sa_handler = handle;
	action.sa_flags = SA_RESTART;
	for (int signal = SIGRTMIN; signal <= SIGRTMIN + 2; signal++) /* each may interrupt the other two */
		sigaction(signal, &action, nullptr);
}

/* ---- Workers --------------------------------------------------------------------------------- */

/* Destructors of a key that is younger than the library's come after it in each round. */
pthread_key_t after_the_end;

void note_end(void *argument)
{
	if (tether_owner_is_alive(seat->owner))
		pthread_setspecific(after_the_end, argument);
	else
		has_ended = true;
}

void replenish(Random &random)
{
	for (unsigned i = 0; i < 8; i++) {
		Item &item = seat->items[random.below(things_per_worker)];

		if (item.state != IDLE)
			continue;
		item.home = tether_self_;
		tether_bind(&item.tag, &item_type);
		MUST(advance(item.state, IDLE, BOUND));
	}
}

/* Signals for the others, who may be anywhere. They queue; more than a few would hit the same instruction. */
void interrupt_others()
{
	for (Seat &victim : seats) {
		std::unique_lock<std::mutex> guard(victim.lock, std::try_to_lock);

		if (&victim == seat || !guard || !victim.is_taken)
			continue;
		for (int i = 0; i < 2; i++)
			if (victim.under_way[i]++ >= 8 || pthread_kill(victim.thread, SIGRTMIN + 1 + i) != 0)
				victim.under_way[i]--;
	}
}

void work(Random &random)
{
	interrupt_others();
	replenish(random);
	bool is_batch = random.below(2) && tether_batch_begin() == 0;
	for (unsigned i = random.below(is_batch ? 40 : 4); i > 0; i--) {
		drop_something(random.next(), random.below(4) ? tether_drop : tether_drop_later);
		if (!is_batch || random.below(8) == 0)
			post_something(random.next());
	}
	if (is_batch)
		tether_batch_end();
	if (random.below(2))
		(void)tether_park();
	tether_unpark();
	(void)tether_drain(random.below(2) * random.below(20));
}

void start_timer()
{
	struct sigevent event = {};
	struct itimerspec every = {{0, 200000}, {0, 200000}};

	event.sigev_notify = SIGEV_THREAD_ID;
	event.sigev_signo = SIGRTMIN;
	event.sigev_notify_thread_id = static_cast<pid_t>(syscall(SYS_gettid));
	MUST(timer_create(CLOCK_MONOTONIC, &event, &seat->timer) == 0);
	MUST(timer_settime(seat->timer, 0, &every, nullptr) == 0);
}

/* A life of an owner. */
void *live(void *argument)
{
	seat = static_cast<Seat *>(argument);
	seat->thread = pthread_self();
	seat->is_taken = true;
	Random random(static_cast<uint64_t>(seat - seats.data()) << 32 | books.ends);
	Item mine;

	handler_seed = random.next();
	start_timer();
	pthread_setspecific(after_the_end, argument);
	seat->owner = tether_self();
	if (random.below(2))
		MUST(tether_fd() >= 0);
	tether_bind(&mine.tag, &item_type);
	own = &mine.tag;
	for (unsigned turns = 1 + random.below(longest_life); turns > 0 && !is_over(); turns--)
		work(random);
	own = nullptr;
	tether_fini(&mine.tag);
	if (random.below(2)) {
		tether_owner_exit();
		has_ended = true;
		spin(random.below(2000));
	}
	return nullptr;
}

/* One worker after another, until all signals have come. */
void occupy(Seat &of)
{
	pthread_t thread;

	while (!is_over()) {
		of.owner = 0;
		of.under_way[0] = of.under_way[1] = 0;
		MUST(pthread_create(&thread, nullptr, live, &of) == 0);
		for (bool has_gone = false; !has_gone;) {
			doze(200);
			std::lock_guard<std::mutex> guard(of.lock);
			if ((has_gone = pthread_tryjoin_np(thread, nullptr) == 0))
				of.is_taken = false;
		}
		stress::at("signals", books.by_kill);
		timer_delete(of.timer);
		books.ends++;
	}
}

void complain(const struct tether_report *report, void *)
{
	fputs(report->text, stderr);
	MUST(!"a report");
}

/* What is still bound when all have gone is an orphan. */
void settle()
{
	for (Seat &one : seats)
		for (Item &item : one.items)
			if (advance(item.state, BOUND, TAKEN)) {
				books.dropped++;
				(void)tether_drop(&item.tag);
			}
}

class Signal : public testing::Test
{
protected:
	static void SetUpTestSuite()
	{
		MUST(tether_set_option("stall_ms", "0") == 0);
		tether_set_report_callback(complain, nullptr);
		tether_self();
		MUST(pthread_key_create(&after_the_end, note_end) == 0);
		for (Seat &one : seats)
			for (Letter &letter : one.letters)
				tether_message_init(&letter.message, letter_read);
		install_handlers();
	}
	static void TearDownTestSuite()
	{
		printf("%llu signals by pthread_kill, %llu by timer, %llu nested; %llu drops, %llu posts, %llu owners\n",
		       static_cast<unsigned long long>(books.by_kill), static_cast<unsigned long long>(books.by_timer),
		       static_cast<unsigned long long>(books.nested), static_cast<unsigned long long>(books.dropped),
		       static_cast<unsigned long long>(books.posted), static_cast<unsigned long long>(books.ends));
		tether_set_report_callback(nullptr, nullptr);
	}

	void work_until_over(unsigned turns)
	{
		struct tether_counters counters;
		std::vector<std::thread> threads;

		longest_life = turns;
		for (Seat &one : seats)
			threads.emplace_back([&one] { occupy(one); });
		for (std::thread &thread : threads)
			thread.join();
		settle();

		MUST(books.dropped == books.destroyed);
		MUST(books.posted == books.told);
		MUST(tether_stats(0, &counters) == 0);
		MUST(counters.sent == counters.queued);
		MUST(counters.queued == counters.run_home + counters.orphaned);
		MUST(counters.pending == 0 && counters.leaked == 0);
	}
};

/* In rounds, each with a time of its own on the watchdog: 3 million and 100,000 signals in all. */
constexpr unsigned rounds = 10;

class SignalRound : public Signal, public testing::WithParamInterface<unsigned>
{
protected:
	static void TearDownTestSuite()
	{
		MUST(books.nested > 0 || !handlers_nest);
		Signal::TearDownTestSuite();
	}
};

TEST_P(SignalRound, HandlersLoseNothing)
{
	kills += stress::scaled(3000000 / rounds);
	timers += stress::scaled(100000 / rounds);
	work_until_over(4000);
}

INSTANTIATE_TEST_SUITE_P(Of10, SignalRound, testing::Range(0U, rounds));

TEST_F(Signal, HandlersInterruptBeginningsAndEnds)
{
	ends += stress::scaled(20000);
	work_until_over(20);
}

} // namespace
