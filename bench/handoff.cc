/* handoff.cc - what does it cost to give an object to another thread and to get it back?
 * SPDX-License-Identifier: MIT
 *
 * Two threads, each on a core of its own, and one object that goes to and fro. Time on the wall, there and back.
 *
 *   handoff          both are awake and look for it all the time
 *   handoff.asleep   both sleep in their loop until it comes, so each way costs a wake-up
 *
 * The floors are the same without an object: a cache line that is written in turn, and an eventfd that is. */
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <tether/tether.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "pace.h"

/* How the object is sent to side 0 or 1, and how that side waits for it. */
struct way {
	const char *figure, *subject;
	void (*send)(int to);
	void (*receive)(int self);
	size_t trips;
};

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* ---- A line, and an eventfd ------------------------------------------------------------------- */

alignas(64) static std::atomic<int> turn;

static void send_line(int to)
{
	turn.store(to + 1, std::memory_order_release);
}

static void receive_line(int self)
{
	while (turn.load(std::memory_order_acquire) != self + 1)
		;
	turn.store(0, std::memory_order_relaxed);
}

/* One for each side, and what it sleeps in. */
static const int bells[] = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};

static void send_bell(int to)
{
	must(eventfd_write(bells[to], 1) == 0);
}

static void receive_bell(int self)
{
	eventfd_t rung;

	must(eventfd_read(bells[self], &rung) == 0);
}

/* ---- A list under a mutex ---------------------------------------------------------------------- */

struct item {
	item *next;
};

struct list {
	alignas(64) pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	item *first = nullptr; /* under lock */
};

static list lists[2];
static item only;

static void send_list(int to)
{
	pthread_mutex_lock(&lists[to].lock);
	only.next = std::exchange(lists[to].first, &only);
	pthread_mutex_unlock(&lists[to].lock);
}

static bool take_list(int self)
{
	pthread_mutex_lock(&lists[self].lock);
	const bool came = std::exchange(lists[self].first, nullptr) != nullptr;
	pthread_mutex_unlock(&lists[self].lock);
	return came;
}

static void receive_list(int self)
{
	while (!take_list(self))
		;
}

static void send_list_bell(int to)
{
	send_list(to);
	send_bell(to);
}

/* By epoll, as loops do. */
static int epoll_of(int fd)
{
	const int epoll = epoll_create1(EPOLL_CLOEXEC);
	epoll_event event = {EPOLLIN, {nullptr}};

	must(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
	return epoll;
}

static void receive_list_bell(int self)
{
	static const int epolls[] = {epoll_of(bells[0]), epoll_of(bells[1])};
	epoll_event event;

	do {
		must(epoll_wait(epolls[self], &event, 1, -1) == 1);
		receive_bell(self);
	} while (!take_list(self));
}

/* ---- tether ------------------------------------------------------------------------------------ */

struct object {
	tether tag;
	tether_transfer transfer;
};
static const tether_type object_type = TETHER_TYPE(object, tag, nullptr);

static object traveller;
static std::atomic<tether_owner_t> owners[2];
static thread_local bool has_come;
static thread_local int loop;

static void begin(int self)
{
	owners[self] = tether_self();
	loop = epoll_of(tether_fd());
	tether_park(); /* from now on it says when it sleeps, and nobody else wakes it */
	tether_unpark();
}

static void arrived(tether_transfer *, tether *, enum tether_arrival arrival)
{
	must(arrival == TETHER_RECEIVED);
	has_come = true;
}

static void send_tether(int to)
{
	must(tether_hand_off(&traveller.tag, owners[to], &traveller.transfer) == 0);
}

static void receive_tether(int)
{
	while (!std::exchange(has_come, false))
		tether_drain(0);
}

static void receive_tether_asleep(int)
{
	epoll_event event;

	while (!std::exchange(has_come, false)) {
		const bool may_sleep = tether_park();
		epoll_wait(loop, &event, 1, may_sleep ? -1 : 0);
		tether_unpark();
		tether_drain(0);
	}
}

/* ------------------------------------------------------------------------------------------------ */

static constexpr size_t awake = 1000, asleep = 300;
static const way ways[] = {
	{"handoff", "floor", send_line, receive_line, awake},
	{"handoff", "tether", send_tether, receive_tether, awake},
	{"handoff", "mutex", send_list, receive_list, awake},
	{"handoff.asleep", "floor", send_bell, receive_bell, asleep},
	{"handoff.asleep", "tether", send_tether, receive_tether_asleep, asleep},
	{"handoff.asleep", "mutex-eventfd", send_list_bell, receive_list_bell, asleep},
};

static std::vector<result> time_way(const way &how, Team *other)
{
	other->go(1, [&](size_t) {
		for (size_t i = 0; i < how.trips; i++) {
			how.receive(1);
			how.send(0);
		}
	});
	const double start = wall_ns();
	for (size_t i = 0; i < how.trips; i++) {
		how.send(1);
		how.receive(0);
	}
	const double took_ns = wall_ns() - start;
	other->wait();
	return {{how.figure, how.subject, 0, 0, took_ns / static_cast<double>(how.trips)}};
}

int main(int argc, char **argv)
{
	const arguments wanted(argc, argv);
	Team other(1, [] { begin(1); });

	pin_to(0);
	begin(0);
	while (!owners[1])
		std::this_thread::yield();
	tether_bind(&traveller.tag, &object_type);
	tether_transfer_init(&traveller.transfer, arrived);
	for (Rounds rounds(wanted); rounds.next();)
		for (const way &each : ways)
			if (wanted.wants(each.subject))
				measure([&] { return time_way(each, &other); });
	tether_fini(&traveller.tag);
}
