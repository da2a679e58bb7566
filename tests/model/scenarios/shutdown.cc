/* shutdown.cc - one looks at what others have in their inboxes, and finds out when nothing is left.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

#include <cstring>

namespace
{

/* Thread 0 shuts down, and has no time; thread 1 takes what thread 2 sends. */
template <bool owner_ends>
struct Looks : Scenario<3> {
	static constexpr unsigned preemptions = owner_ends ? 2 : 3;
	Conn conn[3];
	int result = 1;

	/* Whoever still followed its link would find that. */
	static void end(void *conn) { memset(&static_cast<Conn *>(conn)->tag, 0xdd, sizeof(struct tether)); }
	void prepare(unsigned me)
	{
		tether_self();
		for (Conn &one : conn) {
			if (me != 1)
				continue;
			one.at_end = end;
			one.context = &one;
			tether_bind(&one.tag, &anywhere_type);
		}
		if (me == 2)
			MUST(tether_drop(&conn[0].tag) == TETHER_QUEUED);
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			result = tether_shutdown(0);
			break;
		case 1:
			if (owner_ends)
				tether_owner_exit();
			else
				tether_drain(0);
			break;
		default:
			(void)tether_drop(&conn[1].tag);
			(void)tether_drop(&conn[2].tag);
		}
	}
	void check()
	{
		MUST(result == 0 || result == -ETIMEDOUT);
		MUST(reports() == (result != 0));
		for (const Conn &one : conn)
			MUST(one.ends == 1 && (one.ended_on == 1 || owner_ends));
	}
};

/* What it says is left was there. */
struct Says : Scenario<2> {
	tether_owner_t owner[2];
	Conn conn[2];
	uint64_t told = 0;
	int result = 1;

	static void report(const struct tether_report *report, void *context)
	{
		Says *says = static_cast<Says *>(context);
		uint64_t left = 0;

		MUST(report->kind == TETHER_LEFT_OVER && report->left_count <= 1 && report->left_more == 0);
		for (size_t i = 0; i < report->left_count; i++) {
			MUST(report->left[i].owner == says->owner[1]);
			MUST(!report->left[i].type || strcmp(report->left[i].type, "Conn") == 0);
			left += report->left[i].count;
		}
		MUST(left <= 2);
		says->told++;
	}
	void prepare(unsigned me)
	{
		owner[me] = tether_self();
		if (me == 0)
			return;
		tether_set_report_callback([](const struct tether_report *, void *) {}, nullptr);
		tether_set_level(TETHER_WARN);
		tether_owner_leave(owner[0]); /* a first report has the memory for all */
		tether_set_report_callback(report, this);
		for (Conn &one : conn) {
			tether_bind(&one.tag, &home_type);
			MUST(tether_drop_later(&one.tag) == TETHER_QUEUED);
		}
	}
	void run(unsigned me)
	{
		if (me == 0)
			result = tether_shutdown(0);
		else
			tether_drain(0);
	}
	void check()
	{
		MUST(told == (result == -ETIMEDOUT) && reports() == told + 1);
		MUST(conn[0].ended_once_on(1) && conn[1].ended_once_on(1));
	}
};

/* It has time: when it returns all has been handled, though what one runs sends to another that was looked at before. */
struct Waits : Scenario<3> {
	static constexpr unsigned preemptions = 2;
	Conn first, second;
	unsigned calls = 0;

	static void wake(void *context) { __atomic_fetch_add(&static_cast<Waits *>(context)->calls, 1, __ATOMIC_RELAXED); }
	static void drop_second(void *context) { MUST(tether_drop(&static_cast<Waits *>(context)->second.tag) == TETHER_QUEUED); }
	void prepare(unsigned me)
	{
		tether_self();
		if (me == 1) {
			tether_bind(&second.tag, &home_type);
			MUST(tether_set_wake(wake, this) == 0);
		} else if (me == 2) {
			first.at_end = drop_second;
			first.context = this;
			tether_bind(&first.tag, &home_type);
			MUST(tether_drop_later(&first.tag) == TETHER_QUEUED);
		}
	}
	void run(unsigned me)
	{
		if (me == 0) {
			MUST(tether_shutdown(1000) == 0);
			MUST(first.ends == 1 && second.ends == 1);
			return;
		}
		if (me == 1)
			wait_until([this] { return calls > 0; });
		tether_drain(0);
	}
	void check() { MUST(first.ended_once_on(2) && second.ended_once_on(1) && reports() == 0); }
};

} // namespace

TEST(Shutdown, LooksAtWhatItsOwnerIsTaking)
{
	explore<Looks<false>>();
}

TEST(Shutdown, LooksAtWhatAnOwnerThatEndsIsTaking)
{
	explore<Looks<true>>();
}

TEST(Shutdown, SaysWhatIsLeft)
{
	explore<Says>();
}

TEST(Shutdown, ReturnsWhenNothingIsLeft)
{
	explore<Waits>();
}
