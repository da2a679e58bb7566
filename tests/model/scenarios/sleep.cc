/* sleep.cc - an owner sleeps, and what is sent to it wakes it: once, never too late, and never after it has stopped to listen.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* A way to be woken. */
struct Wake {
	unsigned calls = 0;
	bool is_gone = false;

	static void call(void *context)
	{
		Wake *wake = static_cast<Wake *>(context);

		MUST(!__atomic_load_n(&wake->is_gone, __ATOMIC_RELAXED));
		__atomic_fetch_add(&wake->calls, 1, __ATOMIC_RELAXED);
	}
	unsigned count() const { return __atomic_load_n(&calls, __ATOMIC_RELAXED); }
	void end() { __atomic_store_n(&is_gone, true, __ATOMIC_RELAXED); }
};

template <unsigned each>
struct Sent : Scenario<3> {
	tether_owner_t home;
	Conn conn[2][each];
	unsigned handled = 0;

	void bind()
	{
		home = tether_self();
		for (auto &sent : conn)
			for (Conn &one : sent)
				tether_bind(&one.tag, &home_type);
	}
	void send(unsigned me)
	{
		for (Conn &one : conn[me - 1])
			MUST(tether_drop(&one.tag) == TETHER_QUEUED);
	}
	bool has_all() const { return handled == 2 * each; }
	void drain() { handled += (unsigned)tether_drain(0); }
	void check()
	{
		for (const auto &sent : conn)
			for (const Conn &one : sent)
				MUST(one.ended_once_on(0));
	}
	uint64_t wakeups() const
	{
		struct tether_counters counters;

		MUST(tether_stats(home, &counters) == 0);
		return counters.wakeups;
	}
};

/* One that parks: there is one wake-up for each sleep, and none while it is awake. */
struct Parks : Sent<2> {
	Wake wake;
	unsigned sleeps = 0;

	void prepare(unsigned me)
	{
		if (me > 0)
			return;
		bind();
		MUST(tether_set_wake(Wake::call, &wake) == 0);
		(void)tether_park();
		tether_unpark();
	}
	void run(unsigned me)
	{
		if (me > 0)
			send(me);
		while (me == 0 && !has_all()) {
			if (tether_park()) {
				sleeps++;
				wait_until([this] { return wake.calls == sleeps; });
			}
			tether_unpark();
			drain();
		}
	}
	void check()
	{
		Sent::check();
		MUST(wake.calls == sleeps);
		MUST(wakeups() == sleeps);
	}
};

/* One that lingers: what comes while it sleeps unarmed makes no wake-up, and is found when that is over; it sleeps without
 * end only armed. A wait that is bounded may end at any moment, here at once. */
struct Lingers : Sent<1> {
	Wake wake;
	unsigned sleeps = 0;

	void prepare(unsigned me)
	{
		if (me > 0)
			return;
		bind();
		MUST(tether_set_wake(Wake::call, &wake) == 0);
		(void)tether_park();
		tether_unpark();
	}
	void run(unsigned me)
	{
		if (me > 0)
			send(me);
		while (me == 0 && !has_all()) {
			if (tether_park_for(-1) < 0) {
				sleeps++;
				wait_until([this] { return wake.calls == sleeps; });
			}
			tether_unpark();
			drain();
		}
	}
	void check()
	{
		Sent::check();
		MUST(wake.calls == sleeps);
		MUST(wakeups() == sleeps);
	}
};

/* One that parks, by a descriptor. */
struct ParksAtADescriptor : Sent<1> {
	int fd;
	unsigned sleeps = 0;

	void prepare(unsigned me)
	{
		if (me > 0)
			return;
		bind();
		fd = tether_fd();
		(void)tether_park();
		tether_unpark();
	}
	void run(unsigned me)
	{
		if (me > 0)
			send(me);
		while (me == 0 && !has_all()) {
			if (tether_park()) {
				sleeps++;
				wait_until([this] { return model_fd_is_readable(fd); });
			}
			tether_unpark();
			drain();
		}
	}
	void check()
	{
		Sent::check();
		MUST(wakeups() == sleeps);
	}
};

/* One that only polls its descriptor: each drain that empties the inbox arms it. What is left over keeps the
 * descriptor readable. */
template <unsigned each, size_t at_once>
struct Polls : Sent<each> {
	int fd;

	void prepare(unsigned me)
	{
		if (me > 0)
			return;
		this->bind();
		fd = tether_fd();
	}
	void run(unsigned me)
	{
		if (me > 0)
			this->send(me);
		while (me == 0 && !this->has_all()) {
			wait_until([this] { return model_fd_is_readable(fd); });
			this->handled += (unsigned)tether_drain(at_once);
		}
	}
	void check()
	{
		Sent<each>::check();
		MUST(!model_fd_is_readable(fd));
	}
};

/* One that does not sleep, changes how it is woken, and stops to listen. */
struct ChangesItsWake : Sent<2> {
	Wake wake[2];

	void prepare(unsigned me)
	{
		if (me > 0)
			return;
		bind();
		MUST(tether_set_wake(Wake::call, &wake[0]) == 0);
	}
	void run(unsigned me)
	{
		if (me > 0) {
			send(me);
			return;
		}
		MUST(tether_set_wake(Wake::call, &wake[1]) == 0);
		wake[0].end();
		drain();
		MUST(tether_set_wake(nullptr, nullptr) == 0);
		wake[1].end();
	}
};

} // namespace

TEST(Sleep, ParkedOwnerGetsOneWakeUpPerSleep)
{
	explore<Parks>();
}

TEST(Sleep, LingeringOwnerSleepsWithoutEndOnlyArmed)
{
	explore<Lingers>();
}

TEST(Sleep, ParkedOwnerFindsItsDescriptorReadable)
{
	explore<ParksAtADescriptor>();
}

TEST(Sleep, OwnerThatPollsFindsItsDescriptorReadable)
{
	explore<Polls<2, 0>>();
}

TEST(Sleep, WhatIsLeftOverKeepsTheDescriptorReadable)
{
	explore<Polls<1, 1>>();
}

TEST(Sleep, ReplacedWakeIsNeverCalledLate)
{
	explore<ChangesItsWake>();
}
