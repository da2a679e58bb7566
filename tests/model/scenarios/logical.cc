/* logical.cc - logical owners are entered, left, ended and sent to by several: one is inside, and all is drained once.
 * SPDX-License-Identifier: MIT */
#include "../scenario.h"

namespace
{

/* Thread 0 makes it. */
template <unsigned count>
struct Strand : Scenario<count> {
	tether_owner_t owner = 0, own[count];
	unsigned inside = 0, refused = 0;
	unsigned near = 0; /* before they enter, until after they have left */
	bool was_near = false;

	void make(unsigned me)
	{
		own[me] = tether_self();
		if (me == 0)
			MUST(tether_owner_create("strand", &owner) == 0);
	}
	void come_near() { was_near |= ++near > 1; }
	/* False: somebody else is inside; that was reported. */
	template <typename Work>
	bool enter(unsigned me, Work work)
	{
		come_near();
		tether_owner_t before = tether_owner_enter(owner);
		if (before == 0) {
			refused++;
		} else {
			MUST(before == own[me] && tether_self() == owner);
			MUST(__atomic_fetch_add(&inside, 1, __ATOMIC_RELAXED) == 0);
			work();
			__atomic_fetch_sub(&inside, 1, __ATOMIC_RELAXED);
			tether_owner_leave(before);
		}
		MUST(tether_self() == own[me]);
		near--;
		return before != 0;
	}
	void check()
	{
		MUST(reports() == refused);
		MUST(was_near || refused == 0);
	}
};

/* Two of them again, as soon as they have left. */
struct Enters : Strand<3> {
	unsigned entered = 0;

	void prepare(unsigned me) { make(me); }
	void run(unsigned me)
	{
		for (int i = me < 2 ? 2 : 1; i > 0; i--)
			entered += enter(me, [] {});
	}
	void check()
	{
		Strand::check();
		MUST(entered + refused == 5 && entered > 0);
	}
};

/* Who is refused is told who is inside. */
struct Told : Strand<2> {
	unsigned told = 0;

	static void report(const struct tether_report *report, void *context)
	{
		Told *strand = static_cast<Told *>(context);
		unsigned me = (unsigned)model_thread();

		strand->told++;
		MUST(report->kind == TETHER_OWNER_BUSY);
		MUST(report->owner == strand->owner && report->caller == strand->own[me]);
		MUST(report->other == strand->own[1 - me]);
	}
	void prepare(unsigned me)
	{
		make(me);
		if (me == 0)
			return;
		tether_set_report_callback([](const struct tether_report *, void *) {}, nullptr);
		tether_set_level(TETHER_WARN);
		tether_owner_leave(owner); /* a first report has the memory for all */
		tether_set_report_callback(report, this);
	}
	void run(unsigned me)
	{
		(void)enter(me, [] {});
	}
	void check() { MUST(told == refused && reports() == refused + 1); }
};

/* Thread 2 sends to it, while the others enter, drain and leave. */
struct Drained : Strand<3> {
	Conn conn[2];
	Note note;
	unsigned entered = 0;

	void prepare(unsigned me)
	{
		make(me);
		if (me == 0)
			MUST(enter(me, [this] {
				for (Conn &one : conn)
					tether_bind(&one.tag, &home_type);
			}));
	}
	void run(unsigned me)
	{
		if (me == 2) {
			MUST(tether_drop(&conn[0].tag) == TETHER_QUEUED);
			MUST(tether_post(owner, &note.message) == 0);
		} else {
			entered += enter(me, [this, me] {
				tether_drain(0);
				if (me == 0)
					MUST(tether_drop(&conn[1].tag) == TETHER_HERE);
			});
		}
	}
	/* By nobody else meanwhile. */
	void finish(unsigned me)
	{
		near = 0;
		if (me == 1)
			MUST(enter(me, [] { tether_drain(0); }));
	}
	void check()
	{
		Strand::check();
		MUST(entered + refused == 2 && entered > 0);
		MUST(conn[0].ends == 1 && conn[0].ended_on < 2 && note.calls == 1 && note.called_on < 2);
		MUST(conn[0].order < note.order && note.fate == TETHER_RUN);
	}
};

/* One ends it, one enters it, one sends to it. */
struct Ended : Strand<3> {
	Conn conn[2];
	bool has_entered = false;
	int ended = 1;
	enum tether_dropped dropped[2];

	void prepare(unsigned me)
	{
		make(me);
		if (me == 0)
			MUST(enter(me, [this] {
				for (Conn &one : conn)
					tether_bind(&one.tag, &anywhere_type);
			}));
	}
	void end()
	{
		come_near();
		ended = tether_owner_end(owner);
		near--;
		MUST(ended == (tether_owner_is_alive(owner) ? -EBUSY : 0));
		refused += ended != 0;
	}
	void run(unsigned me)
	{
		switch (me) {
		case 0:
			end();
			break;
		case 1:
			has_entered = enter(me, [] { tether_drain(0); });
			break;
		default:
			for (int i = 0; i < 2; i++)
				dropped[i] = tether_drop(&conn[i].tag);
		}
	}
	void finish(unsigned me)
	{
		tether_drain(0);
		near = 0;
		if (me == 0 && ended != 0)
			end();
		MUST(tether_self() == own[me]);
	}
	void check()
	{
		MUST(reports() == refused && refused <= 1 && ended == 0);
		MUST(was_near || refused == 0 || !has_entered);
		for (int i = 0; i < 2; i++) {
			MUST(conn[i].ends == 1);
			MUST((conn[i].ended_on == 2) == (dropped[i] == TETHER_ORPHANED));
		}
	}
};

} // namespace

TEST(Logical, OneOfThoseWhoEnterAtOnceIsInside)
{
	explore<Enters>();
}

TEST(Logical, WhoIsRefusedIsToldWhoIsInside)
{
	explore<Told>();
}

TEST(Logical, WhatIsSentIsDrainedOnceByWhoeverIsInside)
{
	explore<Drained>();
}

TEST(Logical, IsEndedOnceBeforeOrAfterWhoEntersIt)
{
	explore<Ended>();
}
