/* http.c - feeds what a connection has read to the parser, and formats the header of an answer.
 * SPDX-License-Identifier: MIT
 *
 * The parser stops after each request: a connection has one request at a time, so answers leave in
 * the order of their requests and a client that sends faster than we answer is held back by TCP. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "core.h"

/* A callback that returns anything else than 0 stops the parser. */
static int refuse(struct http_parser *parser, int status)
{
	struct conn *c = parser->data;

	c->refusal = status;
	return status ? -1 : 0;
}

static struct request *request_of(const struct http_parser *parser)
{
	return ((struct conn *)parser->data)->request;
}

static int on_message_begin(struct http_parser *parser)
{
	struct conn *c = parser->data;

	TETHER_CHECK(&c->tether);
	c->request = request_create(c->loop);
	conn_wait(c, WAIT_HEADER);
	return refuse(parser, c->request ? 0 : HTTP_STATUS_SERVICE_UNAVAILABLE);
}

static int on_url(struct http_parser *parser, const char *bytes, size_t n)
{
	return refuse(parser, request_add_url(request_of(parser), bytes, n));
}

static int on_header_field(struct http_parser *parser, const char *bytes, size_t n)
{
	return refuse(parser, request_add_field(request_of(parser), bytes, n));
}

static int on_header_value(struct http_parser *parser, const char *bytes, size_t n)
{
	return refuse(parser, request_add_value(request_of(parser), bytes, n));
}

static int on_headers_complete(struct http_parser *parser)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct conn *c = parser->data;

	TETHER_CHECK(&c->tether);
	parser->upgrade = 0; /* we offer none, so what follows is HTTP, whatever the client hopes for */
	c->is_head = parser->method == HTTP_HEAD;
	conn_wait(c, WAIT_TOTAL);
	int status = request_end_header(c->request, parser);
	if (status == 0 && request_expects_continue(c->request) && parser->http_minor > 0) {
		memcpy(c->out + c->out_end, go_on, sizeof go_on - 1);
		c->out_end += sizeof go_on - 1;
	}
	return refuse(parser, status);
}

static int on_body(struct http_parser *parser, const char *bytes, size_t n)
{
	return refuse(parser, request_add_body(request_of(parser), bytes, n));
}

static int on_message_complete(struct http_parser *parser)
{
	struct conn *c = parser->data;

	TETHER_CHECK(&c->tether);
	c->is_last = !http_should_keep_alive(parser);
	http_parser_pause(parser, 1);
	return 0;
}

static const struct http_parser_settings settings = {
	.on_message_begin = on_message_begin,
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

void http_init(struct http_parser *parser, struct conn *c)
{
	http_parser_init(parser, HTTP_REQUEST);
	parser->data = c;
}

/* HTTP_MORE: all was used, and more is wanted. HTTP_WHOLE: c->request is complete, the rest is left in
 * c->in. Else the status of a refusal, after which the connection reads no more. */
int http_parse(struct conn *c)
{
	TETHER_CHECK(&c->tether);
	http_parser_pause(&c->parser, 0);
	c->refusal = 0;
	c->in_start += http_parser_execute(&c->parser, &settings, c->in + c->in_start, c->in_end - c->in_start);
	assert(c->in_start <= c->in_end);
	switch (HTTP_PARSER_ERRNO(&c->parser)) {
	case HPE_OK:
		return HTTP_MORE;
	case HPE_PAUSED:
		return HTTP_WHOLE;
	case HPE_HEADER_OVERFLOW:
		return HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE;
	default:
		return c->refusal ? c->refusal : HTTP_STATUS_BAD_REQUEST;
	}
}

/* Returns the header's length. */
size_t http_header(char *out, size_t max, int status, const char *type, size_t body_bytes, bool is_last)
{
	static const char format[] = "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%sConnection: %s\r\n\r\n";
	const char *text = http_status_str((enum http_status)status);
	const char *allow = status == HTTP_STATUS_METHOD_NOT_ALLOWED ? "Allow: GET, HEAD, POST\r\n" : "";
	int n = snprintf(out, max, format, status, text, type, body_bytes, allow, is_last ? "close" : "keep-alive");

	assert(n > 0 && (size_t)n < max);
	return (size_t)n;
}
