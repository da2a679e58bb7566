/* answer.c - an answer's bytes, which are Python's, sent by a loop from where they lie.
 * SPDX-License-Identifier: MIT
 *
 *     pool thread, with the GIL      loop, without                       a thread with the GIL, later
 *     answer_create() -- job -->     conn_send() ... the last byte  -->  answer_destroy(): Py_DECREF
 *                                    tether_drop(): to Python's owner
 *
 * The loop neither copies a body nor waits for the GIL to let go of it. */
#include <stdlib.h>

#include "wsgi.h"

struct answer {
	struct body body;
	struct tether tether;
	PyObject *header, *bytes;
};

static unsigned long long alive; /* with the GIL */

/* As Python's owner, so with the GIL. */
static void answer_destroy(void *object)
{
	struct answer *a = object;

	Py_DECREF(a->header);
	Py_DECREF(a->bytes);
	free(a);
	alive--;
}

static const struct tether_type answer_type = TETHER_TYPE(struct answer, tether, answer_destroy);

static void answer_release(struct body *body)
{
	answer_drop(container_of(body, struct answer, body));
}

/* With the GIL. NULL: an exception is set. */
struct answer *answer_create(PyObject *header, PyObject *bytes)
{
	struct answer *a = malloc(sizeof *a);

	if (!a || tether_py_bind_to_python(&a->tether, &answer_type) != 0) {
		free(a);
		PyErr_NoMemory();
		return NULL;
	}
	a->body = (struct body){PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes), answer_release};
	a->header = Py_NewRef(header);
	a->bytes = Py_NewRef(bytes);
	alive++;
	return a;
}

/* The connection's loop; the answer is the connection's then. */
void answer_send(struct answer *a, struct conn *c)
{
	conn_send(c, PyBytes_AS_STRING(a->header), (size_t)PyBytes_GET_SIZE(a->header), &a->body);
}

/* Any thread. */
void answer_drop(struct answer *a)
{
	tether_drop(&a->tether);
}

/* How many live. With the GIL. */
unsigned long long answer_count(void)
{
	return alive;
}
