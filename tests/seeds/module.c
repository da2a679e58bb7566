/* module.c - an extension of CPython whose objects tell where they die; built on python.h alone.
 * SPDX-License-Identifier: MIT
 *
 *     Protocol   a shell whose payload goes home; with `finish`, it ends with the GIL: it calls that
 *     Checked    a shell that has the tag in itself, for checks alone
 *     Native     a thread of ours that makes Protocols under PyGILState_Ensure(), and drains */
#include <tether/python.h>

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <structmember.h>
#include <tether/fd.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 60 /* for what hangs */

/* ---- What happened --------------------------------------------------------------------------- */

struct note {
	struct note *next;
	long serial;
	const char *what;  /* NULL: it is a report */
	tether_owner_t by; /* who did it */
	bool has_gil;
	char text[];
};

static struct {
	pthread_mutex_t lock;
	struct note *fates, *reports; /* newest first */
	long serials;
	bool is_loud; /* tell standard error: nobody is there to ask any more when the interpreter has gone */
} notes = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct note *note_new(size_t bytes)
{
	struct note *note = calloc(1, sizeof *note + bytes);

	if (!note)
		abort();
	return note;
}

static void note_add(struct note **list, struct note *note)
{
	pthread_mutex_lock(&notes.lock);
	note->next = *list;
	*list = note;
	pthread_mutex_unlock(&notes.lock);
}

static void tell_fate(long serial, const char *what)
{
	struct note *note = note_new(0);

	note->serial = serial;
	note->what = what;
	note->by = tether_self();
	note->has_gil = PyGILState_Check();
	if (notes.is_loud)
		dprintf(STDERR_FILENO, "%ld %s by #%llu\n", serial, what, (unsigned long long)tether_owner_number(note->by));
	note_add(&notes.fates, note);
}

static void catch_report(const struct tether_report *report, void *context)
{
	size_t bytes = tether_report_json(report, NULL, 0) + 1;
	struct note *note = note_new(bytes);

	(void)context;
	(void)tether_report_json(report, note->text, bytes);
	note_add(&notes.reports, note);
}

/* ---- The payload ----------------------------------------------------------------------------- */

struct payload {
	struct tether tether;    /* its thread's */
	struct tether at_python; /* the interpreter's: what follows */
	PyObject *finish;        /* NULL: there is nothing to do there */
	long serial;
};

/* On its owner, without the GIL. */
static void payload_destroy(void *object)
{
	struct payload *payload = object;

	tell_fate(payload->serial, "closed");
	if (payload->finish)
		(void)tether_drop(&payload->at_python); /* it may be gone by now */
	else
		free(payload);
}

/* With the GIL. */
static void payload_finish(void *object)
{
	struct payload *payload = object;
	PyObject *done;

	tell_fate(payload->serial, "finished");
	done = PyObject_CallNoArgs(payload->finish);
	if (!done)
		PyErr_WriteUnraisable(payload->finish);
	Py_XDECREF(done);
	Py_DECREF(payload->finish);
	free(payload);
}

static tether_owner_t heir; /* see set_heir() */

static const struct tether_type leaking = TETHER_TYPE_AT("Protocol", sizeof(struct payload), offsetof(struct payload, tether),
                                                         payload_destroy, NULL, NULL, NULL, TETHER_LEAK, TETHER_LEVEL_DEFAULT, 0);
static const struct tether_type careless =
	TETHER_TYPE_AT("Protocol", sizeof(struct payload), offsetof(struct payload, tether), payload_destroy, NULL, NULL, NULL,
                   TETHER_ANYWHERE, TETHER_LEVEL_DEFAULT, 0);
static const struct tether_type inherited =
	TETHER_TYPE_AT("Protocol", sizeof(struct payload), offsetof(struct payload, tether), payload_destroy, NULL, NULL, &heir,
                   TETHER_HEIR, TETHER_LEVEL_DEFAULT, 0);
static const struct tether_type finishing =
	TETHER_TYPE_AT("Protocol, with the GIL", sizeof(struct payload), offsetof(struct payload, at_python), payload_finish, NULL,
                   NULL, NULL, TETHER_LEAK, TETHER_LEVEL_DEFAULT, 0);

static const struct tether_type *type_named(const char *orphan)
{
	if (strcmp(orphan, "anywhere") == 0)
		return &careless;
	return strcmp(orphan, "heir") == 0 ? &inherited : &leaking;
}

/* ---- Protocol -------------------------------------------------------------------------------- */

struct protocol {
	PyObject_HEAD struct payload *payload; /* NULL: it was not made */
	PyObject *attachment;                  /* any object, for cycles */
	PyObject *weak;
};

/* False: an exception is set, and the payload has gone. */
static bool payload_bind(struct payload *payload, const char *orphan, PyObject *finish)
{
	pthread_mutex_lock(&notes.lock);
	payload->serial = ++notes.serials;
	pthread_mutex_unlock(&notes.lock);
	if (finish != Py_None && tether_py_bind_to_python(&payload->at_python, &finishing) != 0) {
		PyErr_SetString(PyExc_RuntimeError, "the interpreter ends");
		free(payload);
		return false;
	}
	payload->finish = finish != Py_None ? Py_NewRef(finish) : NULL;
	tether_py_bind(&payload->tether, type_named(orphan));
	return true;
}

static PyObject *protocol_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = {"orphan", "finish", NULL};
	const char *orphan = "leak";
	PyObject *finish = Py_None;
	struct protocol *self;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "|sO", names, &orphan, &finish))
		return NULL;
	self = (struct protocol *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	struct payload *payload = calloc(1, sizeof *payload);
	if (!payload || !payload_bind(payload, orphan, finish)) {
		Py_DECREF(self);
		return payload ? NULL : PyErr_NoMemory();
	}
	self->payload = payload;
	return (PyObject *)self;
}

static int protocol_traverse(PyObject *object, visitproc visit, void *arg)
{
	struct protocol *self = (struct protocol *)object;

	Py_VISIT(self->attachment);
	if (self->payload)
		Py_VISIT(self->payload->finish);
	return tether_py_traverse(object, visit, arg);
}

static int protocol_clear(PyObject *object)
{
	Py_CLEAR(((struct protocol *)object)->attachment);
	return 0;
}

/* Not only in tp_dealloc: there the collector may have cleared `finish` already, which is to be called. */
static void protocol_finalize(PyObject *object)
{
	struct payload *payload = ((struct protocol *)object)->payload;

	((struct protocol *)object)->payload = NULL;
	if (payload)
		(void)tether_py_drop(&payload->tether);
}

static void protocol_dealloc(PyObject *object)
{
	struct protocol *self = (struct protocol *)object;

	if (PyObject_CallFinalizerFromDealloc(object) < 0)
		return;
	PyObject_GC_UnTrack(object);
	if (self->weak)
		PyObject_ClearWeakRefs(object);
	Py_CLEAR(self->attachment);
	tether_py_free(object);
}

/* NULL, with an exception: it was finalised, and something has it still. */
static struct payload *payload_of(PyObject *self)
{
	struct payload *payload = ((struct protocol *)self)->payload;

	if (!payload)
		PyErr_SetString(PyExc_RuntimeError, "it is closed");
	return payload;
}

static PyObject *protocol_use(PyObject *self, PyObject *unused)
{
	struct payload *payload = payload_of(self);

	(void)unused;
	if (!payload || !TETHER_PY_ENSURE(&payload->tether))
		return NULL;
	return PyLong_FromLong(payload->serial);
}

static PyObject *protocol_is_mine(PyObject *self, PyObject *unused)
{
	struct payload *payload = payload_of(self);

	(void)unused;
	return payload ? PyBool_FromLong(tether_is_mine(&payload->tether)) : NULL;
}

/* To an owner that owner() gave: it may use it until it gives it back. */
static PyObject *protocol_lend(PyObject *self, PyObject *owner)
{
	struct payload *payload = payload_of(self);
	tether_owner_t to = payload ? PyLong_AsUnsignedLongLong(owner) : 0;

	return PyErr_Occurred() ? NULL : PyLong_FromLong(tether_lend(&payload->tether, to));
}

static PyObject *protocol_give_back(PyObject *self, PyObject *unused)
{
	struct payload *payload = payload_of(self);

	(void)unused;
	return payload ? PyLong_FromLong(tether_return(&payload->tether)) : NULL;
}

static void *drop_natively(void *payload)
{
	(void)tether_drop(&((struct payload *)payload)->tether);
	return NULL;
}

/* By a thread that Python never sees, while this one holds the GIL all along. False: that one waits for something. */
static PyObject *protocol_drop_without_gil(PyObject *self, PyObject *unused)
{
	struct payload *payload = payload_of(self);
	struct timespec deadline;
	pthread_t thread;

	(void)unused;
	if (!payload)
		return NULL;
	errno = pthread_create(&thread, NULL, drop_natively, payload);
	if (errno)
		return PyErr_SetFromErrno(PyExc_OSError);
	((struct protocol *)self)->payload = NULL;
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += PATIENCE_S;
	return PyBool_FromLong(pthread_timedjoin_np(thread, NULL, &deadline) == 0);
}

static PyObject *protocol_set_label(PyObject *self, PyObject *label)
{
	struct payload *payload = payload_of(self);
	const char *text = payload ? PyUnicode_AsUTF8(label) : NULL;

	return text ? PyLong_FromLong(tether_set_label(&payload->tether, text)) : NULL;
}

static PyObject *protocol_serial(PyObject *self, void *unused)
{
	struct payload *payload = payload_of(self);

	(void)unused;
	return payload ? PyLong_FromLong(payload->serial) : NULL;
}

static PyObject *protocol_description(PyObject *self, void *unused)
{
	struct payload *payload = payload_of(self);
	char text[512];

	(void)unused;
	if (!payload)
		return NULL;
	(void)tether_describe(&payload->tether, text, sizeof text);
	return PyUnicode_FromString(text);
}

static PyMethodDef protocol_methods[] = {
	{"use", protocol_use, METH_NOARGS, "its serial, where it may be used"},
	{"is_mine", protocol_is_mine, METH_NOARGS, "may it be used here?"},
	{"lend", protocol_lend, METH_O, "to an owner; 0 or -errno"},
	{"give_back", protocol_give_back, METH_NOARGS, "what was lent; 0 or -errno"},
	{"drop_without_gil", protocol_drop_without_gil, METH_NOARGS, "has a thread without it dropped it?"},
	{"set_label", protocol_set_label, METH_O, "name it"},
	{NULL, NULL, 0, NULL}};
static PyMemberDef protocol_members[] = {{"attachment", T_OBJECT, offsetof(struct protocol, attachment), 0, NULL},
                                         {"__weaklistoffset__", T_PYSSIZET, offsetof(struct protocol, weak), READONLY, NULL},
                                         {NULL, 0, 0, 0, NULL}};
static PyGetSetDef protocol_getters[] = {{"serial", protocol_serial, NULL, NULL, NULL},
                                         {"description", protocol_description, NULL, NULL, NULL},
                                         {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot protocol_slots[] = {
	{Py_tp_new, protocol_new},           {Py_tp_traverse, protocol_traverse}, {Py_tp_clear, protocol_clear},
	{Py_tp_finalize, protocol_finalize}, {Py_tp_dealloc, protocol_dealloc},   {Py_tp_methods, protocol_methods},
	{Py_tp_members, protocol_members},   {Py_tp_getset, protocol_getters},    {0, NULL}};
static PyType_Spec protocol_spec = {"seeds.Protocol", sizeof(struct protocol), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                                    protocol_slots};

/* ---- Checked --------------------------------------------------------------------------------- */

struct checked {
	PyObject_HEAD struct tether tether;
};

static const struct tether_type checked_type = TETHER_TYPE_AT("Checked", sizeof(struct checked), offsetof(struct checked, tether),
                                                              NULL, NULL, NULL, NULL, TETHER_LEAK, TETHER_LEVEL_DEFAULT, 0);

static PyObject *checked_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = {"may_be_made", NULL};
	int may_be_made = 1;
	PyObject *self = type->tp_alloc(type, 0);

	/* The arguments are looked at late: what fails here has a tag that was never bound. */
	if (self && !PyArg_ParseTupleAndKeywords(args, keywords, "|p", names, &may_be_made))
		may_be_made = 0;
	else if (self && !may_be_made)
		PyErr_SetString(PyExc_ValueError, "it may not be made");
	if (!self || !may_be_made) {
		Py_XDECREF(self);
		return NULL;
	}
	tether_py_bind(&((struct checked *)self)->tether, &checked_type);
	return self;
}

static void checked_dealloc(PyObject *self)
{
	PyObject_GC_UnTrack(self);
	tether_py_end(&((struct checked *)self)->tether);
	tether_py_free(self);
}

static PyObject *checked_use(PyObject *self, PyObject *unused)
{
	(void)unused;
	if (!TETHER_PY_ENSURE(&((struct checked *)self)->tether))
		return NULL;
	Py_RETURN_NONE;
}

static PyMethodDef checked_methods[] = {{"use", checked_use, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static PyType_Slot checked_slots[] = {{Py_tp_new, checked_new},
                                      {Py_tp_traverse, tether_py_traverse},
                                      {Py_tp_dealloc, checked_dealloc},
                                      {Py_tp_methods, checked_methods},
                                      {0, NULL}};
static PyType_Spec checked_spec = {"seeds.Checked", sizeof(struct checked), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                                   checked_slots};

/* ---- A thread of ours ------------------------------------------------------------------------ */

/* Until the interpreter ends, and this thread with it, in PyGILState_Ensure(). The list lives as long. */
static void *native_run(void *list)
{
	PyGILState_STATE state = PyGILState_Ensure();
	PyObject *seeds = PyImport_ImportModule("seeds");

	for (;;) {
		PyObject *protocol = PyObject_CallMethod(seeds, "Protocol", NULL);
		if (protocol && PyList_GET_SIZE((PyObject *)list) < 100)
			(void)PyList_Append(list, protocol);
		Py_XDECREF(protocol);
		PyGILState_Release(state);
		struct pollfd inbox = {.fd = tether_fd(), .events = POLLIN};
		(void)poll(&inbox, 1, 1);
		(void)tether_drain(0);
		state = PyGILState_Ensure();
	}
	return NULL;
}

static PyObject *start_native(PyObject *module, PyObject *list)
{
	pthread_t thread;

	(void)module;
	errno = pthread_create(&thread, NULL, native_run, list);
	if (errno)
		return PyErr_SetFromErrno(PyExc_OSError);
	pthread_detach(thread);
	Py_RETURN_NONE;
}

/* ---- Functions ------------------------------------------------------------------------------- */

static PyObject *drain(PyObject *module, PyObject *unused)
{
	size_t handled;

	(void)module;
	(void)unused;
	Py_BEGIN_ALLOW_THREADS;
	handled = tether_drain(0);
	Py_END_ALLOW_THREADS;
	return PyLong_FromSize_t(handled);
}

static PyObject *inbox(PyObject *module, PyObject *unused)
{
	int fd = tether_fd();

	(void)module;
	(void)unused;
	return Py_BuildValue("is", fd, tether_wake_name());
}

static PyObject *drain_python(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return PyLong_FromSize_t(tether_py_drain());
}

static PyObject *self_number(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return PyLong_FromUnsignedLongLong(tether_owner_number(tether_py_self()));
}

static PyObject *owner(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return PyLong_FromUnsignedLongLong(tether_py_self());
}

/* None: not known. */
static PyObject *known(int value)
{
	return value == TETHER_FD_UNKNOWN ? Py_NewRef(Py_None) : PyLong_FromLong(value);
}

static PyObject *adopt(PyObject *module, PyObject *number)
{
	struct tether_fd_info info;
	int error, fd = (int)PyLong_AsLong(number);

	(void)module;
	if (PyErr_Occurred())
		return NULL;
	error = tether_fd_adopt(fd, tether_self(), &info);
	if (error) {
		errno = -error;
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	return Py_BuildValue("NNNNN", PyBool_FromLong(info.is_socket), known(info.domain), known(info.type), known(info.protocol),
	                     PyBool_FromLong(tether_fd_owner(fd) == tether_self()));
}

static PyObject *python_number(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return PyLong_FromUnsignedLongLong(tether_owner_number(tether_py_owner()));
}

/* Logical owners, as numbers that only these functions know. */
static PyObject *create_owner(PyObject *module, PyObject *name)
{
	const char *text = PyUnicode_AsUTF8(name);
	tether_owner_t owner;

	(void)module;
	if (!text)
		return NULL;
	return tether_owner_create(text, &owner) == 0 ? PyLong_FromUnsignedLongLong(owner) : PyErr_NoMemory();
}

static PyObject *enter_owner(PyObject *module, PyObject *owner)
{
	tether_owner_t previous = tether_owner_enter(PyLong_AsUnsignedLongLong(owner));

	(void)module;
	if (!previous && !PyErr_Occurred())
		PyErr_SetString(PyExc_RuntimeError, "it was not entered");
	return previous ? PyLong_FromUnsignedLongLong(previous) : NULL;
}

static PyObject *leave_owner(PyObject *module, PyObject *previous)
{
	(void)module;
	tether_owner_leave(PyLong_AsUnsignedLongLong(previous));
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *end_owner(PyObject *module, PyObject *owner)
{
	int error = tether_owner_end(PyLong_AsUnsignedLongLong(owner));

	(void)module;
	return PyErr_Occurred() ? NULL : PyLong_FromLong(error);
}

static PyObject *set_heir(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	__atomic_store_n(&heir, tether_self(), __ATOMIC_RELEASE);
	Py_RETURN_NONE;
}

static PyObject *exit_owner(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	tether_owner_exit();
	Py_RETURN_NONE;
}

/* Nobody frees what is told: neither the list nor a signal is in the way of who notes. */
static struct note *take(struct note **list)
{
	pthread_mutex_lock(&notes.lock);
	struct note *taken = *list;
	*list = NULL;
	pthread_mutex_unlock(&notes.lock);
	return taken;
}

static PyObject *to_python(const struct note *note)
{
	if (!note->what)
		return PyUnicode_FromString(note->text);
	return Py_BuildValue("lsKN", note->serial, note->what, (unsigned long long)tether_owner_number(note->by),
	                     PyBool_FromLong(note->has_gil));
}

/* As a list, oldest first. */
static PyObject *take_list(struct note **notes_of)
{
	PyObject *list = PyList_New(0);
	struct note *note = take(notes_of);

	while (note) {
		struct note *next = note->next;
		PyObject *item = list ? to_python(note) : NULL;
		if (item && PyList_Insert(list, 0, item) != 0)
			Py_CLEAR(list);
		Py_XDECREF(item);
		free(note);
		note = next;
	}
	return list;
}

static PyObject *take_fates(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return take_list(&notes.fates);
}

static PyObject *take_reports(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return take_list(&notes.reports);
}

static PyObject *catch_reports(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	tether_set_report_callback(catch_report, NULL);
	Py_RETURN_NONE;
}

static PyObject *be_loud(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	notes.is_loud = true;
	Py_RETURN_NONE;
}

static PyObject *set_option(PyObject *module, PyObject *args)
{
	const char *name, *value;

	(void)module;
	return PyArg_ParseTuple(args, "ss", &name, &value) ? PyLong_FromLong(tether_set_option(name, value)) : NULL;
}

static PyMethodDef functions[] = {
	{"drain", drain, METH_NOARGS, "drain this thread's inbox, without the GIL"},
	{"inbox", inbox, METH_NOARGS, "this thread's descriptor or -errno, and how it is woken"},
	{"drain_python", drain_python, METH_NOARGS, "drain the interpreter's"},
	{"self", self_number, METH_NOARGS, "this thread's number"},
	{"owner", owner, METH_NOARGS, "this thread's owner, for lend()"},
	{"adopt", adopt, METH_O, "own a descriptor: is it a socket, its domain, type and protocol; is it ours?"},
	{"python", python_number, METH_NOARGS, "the interpreter's"},
	{"create_owner", create_owner, METH_O, "make a logical owner of this name"},
	{"enter_owner", enter_owner, METH_O, "be it; returns who this thread was"},
	{"leave_owner", leave_owner, METH_O, "be again who this thread was"},
	{"end_owner", end_owner, METH_O, "end it: 0 or -errno"},
	{"set_heir", set_heir, METH_NOARGS, "let this thread inherit"},
	{"exit_owner", exit_owner, METH_NOARGS, "end this thread's owner"},
	{"take_fates", take_fates, METH_NOARGS, "(serial, what, by whom, with the GIL) of all that was destroyed"},
	{"take_reports", take_reports, METH_NOARGS, "what was reported, as JSON"},
	{"catch_reports", catch_reports, METH_NOARGS, "keep reports for take_reports()"},
	{"be_loud", be_loud, METH_NOARGS, "tell of what is destroyed on standard error, too"},
	{"set_option", set_option, METH_VARARGS, "set an option of the library"},
	{"start_native", start_native, METH_O, "start a thread that fills a list"},
	{NULL, NULL, 0, NULL},
};

static int fill(PyObject *module)
{
	PyObject *protocol = PyType_FromModuleAndSpec(module, &protocol_spec, NULL);
	PyObject *checked = PyType_FromModuleAndSpec(module, &checked_spec, NULL);
	int error = !protocol || !checked || PyModule_AddType(module, (PyTypeObject *)protocol) != 0 ||
	            PyModule_AddType(module, (PyTypeObject *)checked) != 0;

	Py_XDECREF(protocol);
	Py_XDECREF(checked);
	return -error;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "seeds", .m_methods = functions, .m_slots = slots};

PyMODINIT_FUNC PyInit_seeds(void)
{
	return PyModuleDef_Init(&definition);
}
