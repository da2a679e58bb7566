/* request.c - what a client asked for, filled in as it arrives.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "httpd.h"

/* Runs on the loop that owns the request, whoever dropped it. */
static void request_destroy(void *object)
{
	struct request *r = object;

	TETHER_CHECK(&r->tether);
	shelf_put(&r->loop->requests, &r->item);
}

static const struct tether_type request_type = TETHER_TYPE(struct request, tether, request_destroy);
const size_t request_bytes = sizeof(struct request);

/* NULL: out of memory. */
struct request *request_create(struct loop *loop)
{
	struct request *r = shelf_take(&loop->requests);

	if (!r)
		return NULL;
	tether_bind(&r->tether, &request_type);
	atomic_init(&r->refs, 1);
	r->loop = loop;
	r->method = r->hosts = 0;
	r->expects_continue = false;
	r->url_bytes = r->field_bytes = r->body_bytes = r->path_bytes = 0;
	r->path = r->url;
	r->work_ms = 0;
	return r;
}

/* Any thread that has a reference. */
struct request *request_ref(struct request *r)
{
	/* Relaxed: the caller's own reference keeps it alive. */
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

/* Any thread that has a reference, which ends. */
void request_unref(struct request *r)
{
	/* Release: what we did with it comes before its end. Acquire: what the others did, too. */
	if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1)
		tether_drop(&r->tether);
}

/* These return 0 or the status that refuses the request. */
int request_add_url(struct request *r, const char *bytes, size_t n)
{
	TETHER_CHECK(&r->tether);
	if (n > URL_MAX - r->url_bytes)
		return HTTP_STATUS_URI_TOO_LONG;
	memcpy(r->url + r->url_bytes, bytes, n);
	r->url_bytes += n;
	return 0;
}

int request_add_body(struct request *r, const char *bytes, size_t n)
{
	TETHER_CHECK(&r->tether);
	if (n > (size_t)options.body_bytes - r->body_bytes)
		return HTTP_STATUS_PAYLOAD_TOO_LARGE;
	memcpy(r->body + r->body_bytes, bytes, n);
	r->body_bytes += n;
	return 0;
}

/* The name of a field comes in pieces. A long one is none of those we look for. One with a space, which
 * the parser lets pass, may mean something else to the next server. */
int request_add_field(struct request *r, const char *bytes, size_t n)
{
	TETHER_CHECK(&r->tether);
	size_t room = sizeof r->field - r->field_bytes;
	size_t fits = n < room ? n : room;

	memcpy(r->field + r->field_bytes, bytes, fits);
	r->field_bytes += fits;
	return memchr(bytes, ' ', n) ? HTTP_STATUS_BAD_REQUEST : 0;
}

static bool field_is(const struct request *r, const char *name)
{
	return r->field_bytes == strlen(name) && strncasecmp(r->field, name, r->field_bytes) == 0;
}

/* Called for each piece of the field's value, of which there is at least one. None that we look for says more than
 * that it is there. */
int request_add_value(struct request *r, const char *bytes, size_t n)
{
	TETHER_CHECK(&r->tether);
	(void)bytes, (void)n;
	if (field_is(r, "host"))
		r->hosts++;
	if (field_is(r, "expect"))
		r->expects_continue = true; /* "100-continue", the only expectation that there is */
	r->field_bytes = 0;
	return 0;
}

static int request_end_url(struct request *r)
{
	struct http_parser_url url;

	r->url[r->url_bytes] = '\0';
	http_parser_url_init(&url);
	if (http_parser_parse_url(r->url, r->url_bytes, r->method == HTTP_CONNECT, &url) != 0)
		return HTTP_STATUS_BAD_REQUEST;
	r->path = "/";
	r->path_bytes = 1;
	if (url.field_set & (1 << UF_PATH)) {
		r->path = r->url + url.field_data[UF_PATH].off;
		r->path_bytes = url.field_data[UF_PATH].len;
	}
	const char *query = r->url + url.field_data[UF_QUERY].off;
	if ((url.field_set & (1 << UF_QUERY)) && strncmp(query, "ms=", 3) == 0)
		r->work_ms = strtol(query + 3, NULL, 10);
	return 0;
}

/* 0, or the status that refuses the request. */
int request_end_header(struct request *r, const struct http_parser *parser)
{
	TETHER_CHECK(&r->tether);
	r->method = parser->method;
	if (parser->http_major != 1)
		return HTTP_STATUS_HTTP_VERSION_NOT_SUPPORTED;
	if (r->hosts > 1 || (r->hosts == 0 && parser->http_minor > 0))
		return HTTP_STATUS_BAD_REQUEST;
	if ((parser->flags & F_CONTENTLENGTH) && parser->content_length > (uint64_t)options.body_bytes)
		return HTTP_STATUS_PAYLOAD_TOO_LARGE;
	return request_end_url(r);
}

bool request_expects_continue(const struct request *r)
{
	TETHER_CHECK(&r->tether);
	return r->expects_continue;
}

bool request_is_for(const struct request *r, const char *path)
{
	TETHER_CHECK(&r->tether);
	return r->path_bytes == strlen(path) && memcmp(r->path, path, r->path_bytes) == 0;
}
