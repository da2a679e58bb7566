/* site.c - what is served under which path.
 * SPDX-License-Identifier: MIT */
#include "httpd.h"

static void site_hello(struct conn *c)
{
	static const char hello[] = "hello from a loop that owns its connections\n";

	TETHER_CHECK(&c->tether);
	conn_reply(c, HTTP_STATUS_OK, "text/plain", hello, sizeof hello - 1);
}

static void site_stats(struct conn *c)
{
	char json[REPLY_MAX - 256]; /* the rest is for the header */

	TETHER_CHECK(&c->tether);
	conn_reply(c, HTTP_STATUS_OK, "application/json", json, stats_json(json, sizeof json));
}

void site_serve(struct conn *c, struct request *r)
{
	TETHER_CHECK(&c->tether);
	TETHER_CHECK(&r->tether);
	if (r->method != HTTP_GET && r->method != HTTP_HEAD && r->method != HTTP_POST)
		conn_refuse(c, HTTP_STATUS_METHOD_NOT_ALLOWED);
	else if (request_is_for(r, "/"))
		site_hello(c);
	else if (request_is_for(r, "/slow"))
		conn_start_job(c, r);
	else if (request_is_for(r, "/stats"))
		site_stats(c);
	else
		conn_reply(c, HTTP_STATUS_NOT_FOUND, "text/plain", "not found\n", 10);
}
