/* protocol.c - WSGIProtocol: what the server's frame holds while the application runs, and often longer.
 * SPDX-License-Identifier: MIT
 *
 *     shell: WSGIProtocol              payload: struct protocol
 *     dies where it is let go   -->    tag, references to a connection and a request; dies on its pool thread
 *
 * An exception that the application keeps, in a cycle, keeps its frames, and by f_back the server's frame. Whichever
 * thread collects next lets the shell go. Its payload goes home, and what it stands on goes home from there.
 *
 * What Python keeps for ever does not hold up a server that stops: once no pool thread is left, all payloads let go of
 * what they stand on.
 *
 * Invariant: a payload that was never answered has its job posted home when it dies, so no client waits in vain. */
#include <stdlib.h>

#include "wsgi.h"

struct protocol {
	struct tether tether;
	struct link link;        /* in `alive` */
	tether_owner_t maker;    /* constant */
	struct job *job;         /* until it is answered */
	struct conn *conn;       /* a reference: it stands on it. NULL: let go */
	struct request *request; /* a reference, likewise */
	char peer[INET_ADDRSTRLEN];
};

struct shell {
	PyObject_HEAD struct protocol *payload;
};

static struct {
	unsigned long long made, kept, elsewhere; /* with the GIL; elsewhere: let go on another thread than its own */
	atomic_ullong home, inherited, foreign;   /* any thread */
} counters;

static struct {
	pthread_mutex_t lock;
	struct link all; /* under the lock */
} alive = {.lock = PTHREAD_MUTEX_INITIALIZER, .all = {&alive.all, &alive.all}};

static tether_owner_t heir; /* constant: Python's owner */
static PyTypeObject *shell_type;

static void protocol_let_go(struct protocol *p)
{
	if (!p->conn)
		return;
	request_unref(p->request);
	conn_unref(p->conn);
	p->conn = NULL;
}

/* On the pool thread that made it, or as its heir; with deferred drops off, on any thread. Needs no GIL. */
static void protocol_destroy(void *object)
{
	struct protocol *p = object;
	tether_owner_t self = tether_self();
	atomic_ullong *counter = self == p->maker ? &counters.home : self == heir ? &counters.inherited : &counters.foreign;

	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
	if (p->job)
		tether_post(p->job->loop->owner, &p->job->done);
	pthread_mutex_lock(&alive.lock);
	list_remove(&p->link);
	pthread_mutex_unlock(&alive.lock);
	protocol_let_go(p);
	free(p);
}

/* Each drop on another thread is told, for places.c to count. */
static const struct tether_type protocol_type =
	TETHER_TYPE_AT("WSGIProtocol", sizeof(struct protocol), offsetof(struct protocol, tether), protocol_destroy, NULL, NULL,
                   &heir, TETHER_HEIR, TETHER_WARN, TETHER_NO_RULES);

/* A pool thread with the GIL; the job is the protocol's then. NULL: an exception is set, and the job is as it was. */
PyObject *protocol_create(struct job *j)
{
	struct shell *shell = PyObject_New(struct shell, shell_type);

	if (!shell)
		return NULL;
	struct protocol *p = shell->payload = calloc(1, sizeof *p);
	if (!p) {
		Py_DECREF(shell);
		return PyErr_NoMemory();
	}
	tether_py_bind(&p->tether, &protocol_type);
	p->maker = tether_self();
	p->job = j;
	p->conn = conn_ref(j->conn);
	p->request = request_ref(j->request);
	memcpy(p->peer, j->peer, sizeof p->peer);
	pthread_mutex_lock(&alive.lock);
	list_append(&alive.all, &p->link);
	pthread_mutex_unlock(&alive.lock);
	counters.made++;
	counters.kept++;
	return (PyObject *)shell;
}

/* As a type does that knows nothing of threads: the destructor runs here. PyO3 would rather leak. */
static void protocol_destroy_here(struct protocol *p)
{
	PyObject *type, *value, *traceback;

	PyErr_Fetch(&type, &value, &traceback);
	if (TETHER_PY_ENSURE(&p->tether)) /* tells, and sets an exception that nobody could catch */
		tether_fini(&p->tether);
	PyErr_Restore(type, value, traceback);
	protocol_destroy(p);
}

static void shell_dealloc(PyObject *self)
{
	struct protocol *p = ((struct shell *)self)->payload;

	counters.elsewhere += p && !tether_is_mine(&p->tether);
	counters.kept -= p != NULL;
	if (p && options.is_deferred)
		tether_py_drop(&p->tether);
	else if (p)
		protocol_destroy_here(p);
	tether_py_free(self);
}

static PyObject *shell_request(PyObject *self, PyObject *unused)
{
	struct protocol *p = ((struct shell *)self)->payload;

	(void)unused;
	return TETHER_PY_ENSURE(&p->tether) ? request_to_python(p->request, p->peer) : NULL;
}

static PyObject *shell_answer(PyObject *self, PyObject *arguments)
{
	struct protocol *p = ((struct shell *)self)->payload;
	PyObject *header, *body;

	if (!TETHER_PY_ENSURE(&p->tether) || !PyArg_ParseTuple(arguments, "SS", &header, &body))
		return NULL;
	if (!p->job)
		return PyErr_Format(PyExc_RuntimeError, "it was answered before");
	if (PyBytes_GET_SIZE(header) > ANSWER_HEADER_MAX)
		return PyErr_Format(PyExc_ValueError, "a header of more than %d bytes", ANSWER_HEADER_MAX);
	struct job *j = p->job;
	j->answer = answer_create(header, body);
	if (!j->answer)
		return NULL;
	p->job = NULL;
	tether_post(j->loop->owner, &j->done);
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{"request", shell_request, METH_NOARGS, "What was asked: (method, target, minor version, fields, body, peer)."},
	{"answer", shell_answer, METH_VARARGS, "Answer with a header, whose end the connection adds, and a body."},
	{0},
};

static PyType_Slot slots[] = {
	{Py_tp_dealloc, shell_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_doc, "A request that the application answers. It is its pool thread's; it may be let go on any."},
	{0},
};

static PyType_Spec spec = {
	.name = "tether_wsgi._core.WSGIProtocol",
	.basicsize = sizeof(struct shell),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = slots,
};

/* 0 or -1, with an exception. */
int protocol_init(PyObject *module)
{
	heir = tether_py_owner();
	shell_type = (PyTypeObject *)PyType_FromSpec(&spec);
	return shell_type ? PyModule_AddObjectRef(module, "WSGIProtocol", (PyObject *)shell_type) : -1;
}

/* With the GIL, when no pool thread is left: nobody else touches a payload then, and no request is open. */
void protocol_let_go_all(void)
{
	pthread_mutex_lock(&alive.lock);
	for (struct link *link = alive.all.next; link != &alive.all; link = link->next)
		protocol_let_go(container_of(link, struct protocol, link));
	pthread_mutex_unlock(&alive.lock);
}

/* With the GIL. */
struct protocol_counters protocol_count(void)
{
	return (struct protocol_counters){counters.made,
	                                  counters.kept,
	                                  counters.elsewhere,
	                                  count_of(&counters.home),
	                                  count_of(&counters.inherited),
	                                  count_of(&counters.foreign)};
}
