/* stream.cc - the same in C++: members, namespaces, templates, lambdas. Which lines warn is marked.
 * SPDX-License-Identifier: MIT */
#include "conn.h"

namespace media
{

TETHER_ROLE(stream_role);

class stream
{
public:
	/* clang does not look into constructors. */
	explicit stream(const tether_type *type) : position_(0) { tether_bind(&tether_, type); }

	void seek(long position)
	{
		TETHER_CHECK(&tether_, stream_role);
		position_ = position;
		skip(1);
	}
	long position() const { return position_; } /* warns */
	void skip(long n) TETHER_REQUIRES(stream_role) { position_ += n; }
	void rewind() { skip(-position()); } /* warns */

	tether tether_;

private:
	long position_ TETHER_GUARDED_BY(stream_role);
};

template <typename T>
void seek_twice(T &object)
{
	object.skip(1); /* warns */
	TETHER_CHECK(&object.tether_, stream_role);
	object.skip(1);
}
template void seek_twice<stream>(stream &);

} // namespace media

void from_outside(media::stream &object);
void from_outside(media::stream &object)
{
	TETHER_CHECK(&object.tether_, media::stream_role);
	object.skip(2);

	auto later = [&object] { object.skip(3); }; /* warns */
	later();
}

/* A role that came from a header. */
int read_conn(conn *c);
int read_conn(conn *c)
{
	if (tether_is_mine(&c->tether))
		return conn_read(c); /* warns */
	TETHER_ASSUME(conn_role);
	return conn_read(c);
}
