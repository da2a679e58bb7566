/* request.c - what a client asked for, all of it, as an application wants to know.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wsgi.h"

struct text {
	char *bytes;
	size_t used, room;
};

struct request {
	struct shelf_item item; /* while on the shelf */
	atomic_int refs;        /* any thread */
	struct tether tether;
	struct loop *loop; /* constant; from here on it is the loop's, and constant while a job has it */
	unsigned method, minor;
	bool is_in_value, is_whole, expects_continue;
	struct text url, fields, body; /* fields: "name\0value\0name\0value\0" */
};

const size_t request_bytes = sizeof(struct request);

static void text_clear(struct text *t)
{
	free(t->bytes);
	*t = (struct text){0};
}

/* False: out of memory. */
static bool text_add(struct text *t, const char *bytes, size_t n)
{
	if (n > t->room - t->used) {
		size_t room = t->room ? 2 * t->room : 256;

		while (n > room - t->used)
			room *= 2;
		char *grown = realloc(t->bytes, room);
		if (!grown)
			return false;
		t->bytes = grown;
		t->room = room;
	}
	memcpy(t->bytes + t->used, bytes, n);
	t->used += n;
	return true;
}

/* Runs on the loop that owns the request, whoever dropped it. */
static void request_destroy(void *object)
{
	struct request *r = object;

	TETHER_CHECK(&r->tether);
	text_clear(&r->url);
	text_clear(&r->fields);
	text_clear(&r->body);
	shelf_put(&r->loop->requests, &r->item);
}

static const struct tether_type request_type = TETHER_TYPE(struct request, tether, request_destroy);

/* NULL: out of memory. */
struct request *request_create(struct loop *loop)
{
	struct request *r = shelf_take(&loop->requests);

	if (!r)
		return NULL;
	*r = (struct request){.loop = loop};
	tether_bind(&r->tether, &request_type);
	atomic_init(&r->refs, 1);
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

int request_add_url(struct request *r, const char *bytes, size_t n)
{
	TETHER_CHECK(&r->tether);
	if (n > URL_MAX - r->url.used)
		return HTTP_STATUS_URI_TOO_LONG;
	return text_add(&r->url, bytes, n) ? 0 : HTTP_STATUS_SERVICE_UNAVAILABLE;
}

int request_add_body(struct request *r, const char *bytes, size_t n)
{
	TETHER_CHECK(&r->tether);
	if (n > (size_t)options.body_bytes - r->body.used)
		return HTTP_STATUS_PAYLOAD_TOO_LARGE;
	return text_add(&r->body, bytes, n) ? 0 : HTTP_STATUS_SERVICE_UNAVAILABLE;
}

/* Names and values come in pieces, by turns. No 0 passes, so one ends each. The parser lets a space in a name pass, which
 * may mean something else to the next server. What follows the body is of no interest. */
static int request_add_piece(struct request *r, const char *bytes, size_t n, bool is_value)
{
	TETHER_CHECK(&r->tether);
	bool is_next = r->is_in_value != is_value;

	if (r->is_whole)
		return 0;
	r->is_in_value = is_value;
	if (is_next && r->fields.used > 0 && !text_add(&r->fields, "", 1))
		return HTTP_STATUS_SERVICE_UNAVAILABLE;
	return text_add(&r->fields, bytes, n) ? 0 : HTTP_STATUS_SERVICE_UNAVAILABLE;
}

int request_add_field(struct request *r, const char *bytes, size_t n)
{
	return memchr(bytes, ' ', n) ? HTTP_STATUS_BAD_REQUEST : request_add_piece(r, bytes, n, false);
}

/* Not even a 0 at its beginning, where the parser does not look. */
static bool is_text(const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)bytes[i] < ' ' && bytes[i] != '\t') || bytes[i] == 0x7f)
			return false;
	return true;
}

int request_add_value(struct request *r, const char *bytes, size_t n)
{
	return is_text(bytes, n) ? request_add_piece(r, bytes, n, true) : HTTP_STATUS_BAD_REQUEST;
}

struct field {
	const char *name, *value;
};

/* The field behind `f`, or the first one. False: there is none. */
static bool field_next(const struct request *r, struct field *f)
{
	if (r->fields.used == 0)
		return false;
	const char *end = r->fields.bytes + r->fields.used;

	f->name = f->name ? f->value + strlen(f->value) + 1 : r->fields.bytes;
	if (f->name == end)
		return false;
	f->value = f->name + strlen(f->name) + 1;
	return true;
}

static bool is_chunked(const char *value)
{
	return strncasecmp(value, "chunked", 7) == 0 && value[7 + strspn(value + 7, " \t")] == '\0';
}

/* 0, or the status that refuses it. How long a body is has to be clear to all who pass it on: what is older than chunks
 * cannot have them, and what the parser does not decode is no body yet. */
static int request_check_coding(const struct request *r)
{
	int codings = 0;

	for (struct field f = {0}; field_next(r, &f);) {
		if (strcasecmp(f.name, "transfer-encoding") != 0)
			continue;
		if (r->minor == 0 || codings++ > 0)
			return HTTP_STATUS_BAD_REQUEST;
		if (!is_chunked(f.value))
			return HTTP_STATUS_NOT_IMPLEMENTED;
	}
	return 0;
}

int request_end_header(struct request *r, const struct http_parser *parser)
{
	TETHER_CHECK(&r->tether);
	int hosts = 0;

	r->method = parser->method;
	r->minor = parser->http_minor;
	r->is_whole = true;
	if (r->fields.used > 0 && !text_add(&r->fields, "", 1))
		return HTTP_STATUS_SERVICE_UNAVAILABLE;
	for (struct field f = {0}; field_next(r, &f);) {
		hosts += strcasecmp(f.name, "host") == 0;
		r->expects_continue |= strcasecmp(f.name, "expect") == 0;
	}
	if (parser->http_major != 1)
		return HTTP_STATUS_HTTP_VERSION_NOT_SUPPORTED;
	if (hosts > 1 || (hosts == 0 && parser->http_minor > 0))
		return HTTP_STATUS_BAD_REQUEST;
	if ((parser->flags & F_CONTENTLENGTH) && parser->content_length > (uint64_t)options.body_bytes)
		return HTTP_STATUS_PAYLOAD_TOO_LARGE;
	return request_check_coding(r);
}

bool request_expects_continue(const struct request *r)
{
	TETHER_CHECK(&r->tether);
	return r->expects_continue;
}

static PyObject *fields_to_python(const struct request *r)
{
	PyObject *fields = PyList_New(0);

	for (struct field f = {0}; fields && field_next(r, &f);) {
		/* Bytes as characters, as WSGI wants them. */
		PyObject *name = PyUnicode_DecodeLatin1(f.name, (Py_ssize_t)strlen(f.name), NULL);
		PyObject *value = PyUnicode_DecodeLatin1(f.value, (Py_ssize_t)strlen(f.value), NULL);
		PyObject *pair = name && value ? PyTuple_Pack(2, name, value) : NULL;

		if (!pair || PyList_Append(fields, pair) != 0)
			Py_CLEAR(fields);
		Py_XDECREF(pair);
		Py_XDECREF(value);
		Py_XDECREF(name);
	}
	return fields;
}

/* (method, target, minor version, fields, body, peer). A thread with the GIL and a reference. */
PyObject *request_to_python(const struct request *r, const char *peer)
{
	return Py_BuildValue("sNINNs", http_method_str((enum http_method)r->method),
	                     PyUnicode_DecodeLatin1(r->url.bytes, (Py_ssize_t)r->url.used, NULL), r->minor, fields_to_python(r),
	                     PyBytes_FromStringAndSize(r->body.bytes, (Py_ssize_t)r->body.used), peer);
}
