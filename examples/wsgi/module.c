/* module.c - tether_wsgi._core: starts the server, gives its pool threads their requests, stops it, says what happened.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>

#include "wsgi.h"

struct options options;
struct loop loops[LOOPS_MAX];

struct limits limits = {
	.drain_ms = 5000,
	.wait_ms = {[WAIT_IDLE] = 60000, [WAIT_HEADER] = 10000, [WAIT_TOTAL] = 60000, [WAIT_TURN] = 60000, [WAIT_LINGER] = 2000},
};

/* 0 or -errno. Signals are for Python's threads. */
static int loops_start(int *port)
{
	static pthread_barrier_t all_started; /* static, as threads may still be leaving it when we go on */
	sigset_t all, before;
	int error = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	for (int i = 0; i < options.loops && !error; i++)
		error = loop_create(&loops[i], i, port);
	pthread_barrier_init(&all_started, NULL, (unsigned)options.loops + 1);
	for (int i = 0; i < options.loops && !error; i++)
		error = loop_start(&loops[i], &all_started);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return error;
	pthread_barrier_wait(&all_started);
	for (int i = 0; i < options.loops && !error; i++)
		error = loops[i].error;
	return error;
}

static PyObject *core_start(PyObject *module, PyObject *arguments, PyObject *named)
{
	static char *names[] = {"work",    "port",     "io_threads", "threads", "backpressure",
	                        "idle_ms", "max_body", "deferred",   "reports", NULL};
	PyObject *work;
	int port, error;

	(void)module;
	if (options.loops > 0)
		return PyErr_Format(PyExc_RuntimeError, "a process has one server");
	if (!PyArg_ParseTupleAndKeywords(arguments, named, "O$iiiiiipp", names, &work, &port, &options.loops, &options.threads,
	                                 &options.backpressure, &options.idle_ms, &options.body_bytes, &options.is_deferred,
	                                 &options.shows_reports))
		return NULL;
	http_parser_set_max_header_size(HEADER_MAX);
	places_start();
	site_start();
	error = pool_start(work);
	if (!error) {
		Py_BEGIN_ALLOW_THREADS error = loops_start(&port);
		Py_END_ALLOW_THREADS
	}
	if (error) {
		errno = -error;
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	return PyLong_FromLong(port);
}

static PyObject *core_next(PyObject *module, PyObject *unused)
{
	struct job *j;

	(void)module, (void)unused;
	if (!pool_is_ours())
		return PyErr_Format(PyExc_RuntimeError, "this is no thread of the pool");
	Py_BEGIN_ALLOW_THREADS j = pool_wait();
	Py_END_ALLOW_THREADS if (!j) Py_RETURN_NONE;
	PyObject *protocol = protocol_create(j);
	if (!protocol)
		tether_post(j->loop->owner, &j->done); /* nobody answers it: 500 */
	return protocol;
}

static PyObject *core_stop(PyObject *module, PyObject *unused)
{
	(void)module, (void)unused;
	for (int i = 0; i < options.loops; i++)
		loop_stop(&loops[i]);
	pool_stop();
	Py_RETURN_NONE;
}

static unsigned long long loops_lost(void)
{
	unsigned long long lost = 0;

	for (int i = 0; i < options.loops; i++)
		lost += loops[i].conns.taken - loops[i].conns.returned + loops[i].requests.taken - loops[i].requests.returned;
	return lost;
}

/* Have all threads ended? What they left to Python is destroyed on the way. */
static PyObject *core_has_ended(PyObject *module, PyObject *unused)
{
	static int joined;

	(void)module, (void)unused;
	while (joined < options.loops && pthread_tryjoin_np(loops[joined].thread, NULL) == 0)
		joined++;
	tether_py_drain();
	if (!pool_is_empty())
		Py_RETURN_FALSE;
	protocol_let_go_all();
	return PyBool_FromLong(joined == options.loops);
}

static unsigned long long served(void)
{
	unsigned long long served = 0;

	for (int i = 0; i < options.loops; i++)
		served += count_of(&loops[i].served);
	return served;
}

static PyObject *core_served(PyObject *module, PyObject *unused)
{
	(void)module, (void)unused;
	return PyLong_FromUnsignedLongLong(served());
}

/* When all threads have ended. What is lost keeps its memory. */
static PyObject *core_end(PyObject *module, PyObject *unused)
{
	struct protocol_counters n = protocol_count();
	unsigned long long lost = n.made - n.kept - n.home - n.inherited - n.foreign + answer_count() + loops_lost();
	struct tether_counters all;

	(void)module, (void)unused;
	tether_stats(0, &all);
	for (int i = 0; i < options.loops && lost == 0; i++)
		loop_destroy(&loops[i]);
	return Py_BuildValue("{sK sK sK sK sK sK sK sK sK sK sK sN}", "requests", served(), "protocols", n.made, "foreign",
	                     n.elsewhere, "home", n.home, "inherited", n.inherited, "kept", n.kept, "destroyed_foreign", n.foreign,
	                     "lost", lost, "leaked", all.leaked, "pending", all.pending, "threads", pool_started(), "places",
	                     places_to_python());
}

static PyMethodDef methods[] = {
	{"start", (PyCFunction)(void (*)(void))core_start, METH_VARARGS | METH_KEYWORDS, "Start; returns the port."},
	{"next", core_next, METH_NOARGS, "A pool thread's next WSGIProtocol; None: it is to end."},
	{"stop", core_stop, METH_NOARGS, "Answer what was asked, accept no more, end all threads."},
	{"has_ended", core_has_ended, METH_NOARGS,
     "Have they? When no pool thread is left, what Python still keeps lets its connections go."},
	{"served", core_served, METH_NOARGS, "How many requests were answered."},
	{"end", core_end, METH_NOARGS, "What happened, when all threads have ended."},
	{0},
};

static int core_exec(PyObject *module)
{
	if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
		PyErr_SetString(PyExc_ImportError, "tether_wsgi serves in the main interpreter only");
		return -1;
	}
	if (PyModule_AddIntMacro(module, LOOPS_MAX) != 0 || PyModule_AddIntMacro(module, THREADS_MAX) != 0 ||
	    PyModule_AddIntConstant(module, "HEADER_MAX", ANSWER_HEADER_MAX) != 0)
		return -1;
	return protocol_init(module);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, core_exec}, {0}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "tether_wsgi._core", .m_doc = "A WSGI server's core.",
                                 .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__core(void)
{
	return PyModuleDef_Init(&definition);
}
