/* python.h - what an extension of CPython needs: tags for heap types, and what dies elsewhere comes home.
 * SPDX-License-Identifier: MIT
 *
 * All is inline and compiled into the extension: the library itself knows no Python, and one libtether serves
 * extensions of any version of it. Include it in place of <Python.h>, or after. Not part of tether.h.
 *
 * A Python object dies where its last reference is let go: on any thread, also in the middle of somebody's allocation. So
 * what has to die on its owner is no part of it:
 *
 *     shell: PyObject          payload: malloc          struct protocol { PyObject_HEAD struct transport *transport; };
 *     refs, type, members  --> tether, fd, buffers      struct transport { struct tether tether; int fd; };
 *     dies where it is let go  dies on its owner
 *
 *     tp_new       tether_py_bind(&t->tether, &transport_type);                 // a label says where: "app.py:17 in serve"
 *     a method     if (!TETHER_PY_ENSURE(&t->tether)) return NULL;              // elsewhere: RuntimeError, and a report
 *     tp_traverse  visits what the shell refers to, and its payload. No check: any thread may collect
 *     tp_dealloc   PyObject_GC_UnTrack(self); Py_CLEAR(...);
 *                  tether_py_drop(&self->transport->tether); tether_py_free(self);
 *     its loop     Py_BEGIN_ALLOW_THREADS; poll(tether_fd()); tether_drain(0); ...
 *
 * If the payload will call something of Python's at its end, drop it in tp_finalize, which tp_dealloc calls by
 * PyObject_CallFinalizerFromDealloc(), and forget it there: in tp_dealloc a collector may have cleared that already.
 *
 * A destructor runs on its owner, which need not hold the GIL and shall not wait for it. What it must do with the GIL
 * (let go of a reference, call something) belongs to another owner, a logical one per interpreter:
 *
 *     its loop, without the GIL           the interpreter's owner, by a thread that holds the GIL
 *     transport_destroy: close(fd)  -->   transport_finish: Py_DECREF(t->app); free(t)
 *        tether_drop(&t->at_python)       in tether_py_drain(): by any later tether_py_bind(), or before the main
 *                                         thread's next bytecode
 *
 * Fork: as owner.h says. The child of a thread that holds the GIL has the interpreter's owner, or gets a new one. Signal
 * handlers: none of this but tether_is_mine(); Python's own handlers are no signal handlers. Thread exit: as owner.h says;
 * when a thread that CPython ends inside PyGILState_Ensure() unwinds, its inbox is drained as ever, without the GIL.
 * Interpreter shutdown: see tether_py_owner(). dlclose: CPython unloads no extension.
 *
 * Subinterpreters: each has an owner of its own; tags know threads, not interpreters. Only the main one is
 * woken (its main thread runs what Py_AddPendingCall() took), in the others the next tether_py_bind() drains. Free-threaded
 * builds: tags work as they are, "with the GIL" then means attached; who lets go of the shell may be its merging thread.
 * Monkey patching: Python is never asked which thread this is. */
#ifndef TETHER_PYTHON_H
#define TETHER_PYTHON_H

#include <Python.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <tether/drop.h>
#include <tether/loop.h>
#include <tether/move.h>
#include <tether/options.h>
#include <tether/owner.h>
#include <tether/report.h>

TETHER_BEGIN_

#if PY_VERSION_HEX < 0x03090000
#error "tether/python.h needs CPython 3.9: frames are asked where they are by public calls"
#endif
#if PY_VERSION_HEX >= 0x030d0000
#define TETHER_PY_IS_FINALIZING_() Py_IsFinalizing()
#else
#define TETHER_PY_IS_FINALIZING_() _Py_IsFinalizing()
#endif
#define TETHER_PY_LABEL_BYTES_ 48
#define TETHER_PY_LABEL_ROOM_ (TETHER_PY_LABEL_BYTES_ + 4) /* a whole character more: tether_set_label() cuts before it */
#define TETHER_PY_COLD_ __attribute__((cold, noinline, unused))

/* ---- Where a script is ----------------------------------------------------------------------- */

/* Of the innermost Python frame. A thread that ends has none. */
struct tether_py_place_ {
	PyObject *code, *path, *name; /* what keeps the strings */
	const char *file, *function;  /* NULL: not known */
	int line;
	PyObject *error[3]; /* what was being raised: in tp_dealloc that is somebody else's */
};

static TETHER_PY_COLD_ void tether_py_place_take_(struct tether_py_place_ *place)
{
	PyFrameObject *frame;

	memset(place, 0, sizeof *place);
	PyErr_Fetch(&place->error[0], &place->error[1], &place->error[2]);
	frame = PyThreadState_GetFrame(PyThreadState_Get());
	if (!frame)
		return;
	place->code = (PyObject *)PyFrame_GetCode(frame);
	place->line = PyFrame_GetLineNumber(frame);
	Py_DECREF(frame);
	place->path = PyObject_GetAttrString(place->code, "co_filename");
	place->name = PyObject_GetAttrString(place->code, "co_name");
	place->file = place->path ? PyUnicode_AsUTF8(place->path) : NULL;
	place->function = place->name ? PyUnicode_AsUTF8(place->name) : NULL;
	if (!place->file || !place->function)
		place->file = place->function = NULL;
	PyErr_Clear();
}

static inline void tether_py_place_put_(struct tether_py_place_ *place)
{
	Py_XDECREF(place->code);
	Py_XDECREF(place->path);
	Py_XDECREF(place->name);
	PyErr_Restore(place->error[0], place->error[1], place->error[2]);
}

/* "shop/views.py:17 in handler": the end of the path, as a label has little room. */
static TETHER_PY_COLD_ void tether_py_label_(struct tether *tag)
{
	struct tether_py_place_ place;
	char label[TETHER_PY_LABEL_ROOM_], rest[TETHER_PY_LABEL_ROOM_];
	const char *from;
	int used, slashes = 0;

	tether_py_place_take_(&place);
	if (place.file) {
		used = snprintf(rest, sizeof rest, ":%d in %s", place.line, place.function);
		used = used < (int)sizeof rest ? used : (int)sizeof rest - 1;
		for (from = place.file + strlen(place.file); from > place.file && slashes < 2; from--)
			slashes += from[-1] == '/';
		from += slashes == 2;
		if (strlen(from) + (size_t)used >= TETHER_PY_LABEL_BYTES_ && strrchr(from, '/'))
			from = strrchr(from, '/') + 1;
		snprintf(label, sizeof label, "%s%s", from, rest);
		(void)tether_set_label(tag, label);
	}
	tether_py_place_put_(&place);
}

/* An owner's first name is that of the operating system's thread, which CPython leaves alone. `threading` is asked what
 * it calls this thread; not by current_thread(), which makes up what it does not know. */
static TETHER_PY_COLD_ void tether_py_name_(void)
{
	PyObject *error[3], *modules, *threading, *active, *key, *thread, *name = NULL;
	const char *text;

	PyErr_Fetch(&error[0], &error[1], &error[2]);
	modules = PySys_GetObject("modules"); /* gone when the interpreter ends; PyImport_GetModuleDict() aborts then */
	threading = modules && PyDict_Check(modules) ? PyDict_GetItemString(modules, "threading") : NULL;
	active = threading ? PyObject_GetAttrString(threading, "_active") : NULL;
	key = PyLong_FromUnsignedLong(PyThread_get_thread_ident());
	thread = active && key ? PyObject_GetItem(active, key) : NULL;
	name = thread ? PyObject_GetAttrString(thread, "_name") : NULL;
	text = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
	if (text)
		tether_self_set_name(text);
	Py_XDECREF(name);
	Py_XDECREF(thread);
	Py_XDECREF(key);
	Py_XDECREF(active);
	PyErr_Restore(error[0], error[1], error[2]);
}

/* A thread that becomes an owner here has the name that Python knows. */
static inline void tether_py_meet_(void)
{
	if (TETHER_UNLIKELY_(tether_self_ == TETHER_NOBODY_))
		tether_py_name_();
}

/** tether_self(), at the start of a thread that runs Python: its owner gets the name that `threading` has for it, if this
 * is its first use. With the GIL. Otherwise as tether_self(). */
static inline tether_owner_t tether_py_self(void)
{
	tether_py_meet_();
	return tether_self();
}

/* ---- The interpreter's owner ----------------------------------------------------------------- */

/* In a capsule in `sys`, where all extensions find it: change its name with the layout. Of all modules the interpreter takes
 * apart `sys` last but one, and of its members those with such a name first: what is run then still finds a Python. */
#define TETHER_PY_CAPSULE_ "_tether_interpreter_1"
struct tether_py_interpreter_ {
	tether_owner_t owner;
	bool is_inside;  /* somebody drains; atomic: in a free-threaded build two may try */
	bool is_closing; /* Python's atexit was reached: nobody is woken any more; atomic */
};

static inline size_t tether_py_drain(void);

/* On the main thread, between two bytecodes; perhaps in another interpreter than what it was asked for. */
static inline int tether_py_pending_(void *unused)
{
	(void)unused;
	(void)tether_py_drain();
	return 0;
}

/* By whoever sends: neither waits for the GIL nor takes it. The list of pending calls may be full; then the next
 * tether_py_bind() drains. */
static inline void tether_py_wake_(void *context)
{
	struct tether_py_interpreter_ *interpreter = (struct tether_py_interpreter_ *)context;

	if (!__atomic_load_n(&interpreter->is_closing, __ATOMIC_RELAXED))
		(void)Py_AddPendingCall(tether_py_pending_, NULL);
}

/* Be its owner, if nobody is. Returns who the caller was; 0: somebody is inside, and drains. */
static inline tether_owner_t tether_py_enter_(struct tether_py_interpreter_ *interpreter)
{
	tether_owner_t previous;

	tether_py_meet_();
	/* Acquire: pairs with the release of who left last. */
	if (__atomic_exchange_n(&interpreter->is_inside, true, __ATOMIC_ACQUIRE))
		return 0;
	previous = tether_owner_enter(interpreter->owner);
	if (!previous)
		__atomic_store_n(&interpreter->is_inside, false, __ATOMIC_RELEASE);
	return previous;
}

static inline void tether_py_leave_(struct tether_py_interpreter_ *interpreter, tether_owner_t previous)
{
	tether_owner_leave(previous);
	/* Release: we are out, before the next one enters. */
	__atomic_store_n(&interpreter->is_inside, false, __ATOMIC_RELEASE);
}

/* Python's atexit: its threads still live. */
static TETHER_PY_COLD_ PyObject *tether_py_closing_(PyObject *capsule, PyObject *unused)
{
	struct tether_py_interpreter_ *interpreter =
		(struct tether_py_interpreter_ *)PyCapsule_GetPointer(capsule, TETHER_PY_CAPSULE_);
	tether_owner_t previous;

	(void)unused;
	if (!interpreter)
		return NULL;
	__atomic_store_n(&interpreter->is_closing, true, __ATOMIC_RELAXED);
	previous = tether_py_enter_(interpreter);
	if (previous) {
		(void)tether_set_wake(NULL, NULL); /* when it returns nobody is in Py_AddPendingCall() */
		(void)tether_drain(0);
		tether_py_leave_(interpreter, previous);
	}
	Py_RETURN_NONE;
}

/* The interpreter takes `sys` apart: the last moment at which a destructor can do something. What comes later is leaked, and
 * reported as its type says. A thread that was stopped inside keeps it. */
static TETHER_PY_COLD_ void tether_py_closed_(PyObject *capsule)
{
	struct tether_py_interpreter_ *interpreter =
		(struct tether_py_interpreter_ *)PyCapsule_GetPointer(capsule, TETHER_PY_CAPSULE_);

	if (!tether_owner_is_alive(interpreter->owner) || tether_owner_end(interpreter->owner) == 0)
		PyMem_RawFree(interpreter);
}

static inline int tether_py_begin_(struct tether_py_interpreter_ *interpreter)
{
	tether_owner_t previous;
	int error;

	tether_py_meet_();
	error = tether_owner_create("python", &interpreter->owner);
	if (error)
		return error;
	interpreter->is_inside = false;
	previous = tether_py_enter_(interpreter);
	if (!previous)
		return -ENOMEM;
	(void)tether_set_wake(tether_py_wake_, interpreter);
	tether_py_leave_(interpreter, previous);
	return 0;
}

static inline bool tether_py_at_exit_(PyObject *capsule)
{
	static PyMethodDef method = {"tether_closing", tether_py_closing_, METH_NOARGS, NULL};
	PyObject *function = PyCFunction_New(&method, capsule);
	PyObject *atexit = PyImport_ImportModule("atexit");
	PyObject *done = function && atexit ? PyObject_CallMethod(atexit, "register", "O", function) : NULL;

	Py_XDECREF(done);
	Py_XDECREF(atexit);
	Py_XDECREF(function);
	return done != NULL;
}

/* NULL, without an exception: there is no memory. */
static TETHER_PY_COLD_ struct tether_py_interpreter_ *tether_py_make_(void)
{
	struct tether_py_interpreter_ *interpreter = (struct tether_py_interpreter_ *)PyMem_RawCalloc(1, sizeof *interpreter);
	PyObject *capsule = interpreter ? PyCapsule_New(interpreter, TETHER_PY_CAPSULE_, tether_py_closed_) : NULL;

	if (!capsule)
		PyMem_RawFree(interpreter);
	/* On failure the capsule goes, and takes with it what there is. */
	if (!capsule || tether_py_begin_(interpreter) != 0 || !tether_py_at_exit_(capsule) ||
	    PySys_SetObject(TETHER_PY_CAPSULE_, capsule) != 0) {
		PyErr_Clear();
		interpreter = NULL;
	}
	Py_XDECREF(capsule);
	return interpreter;
}

static inline struct tether_py_interpreter_ *tether_py_find_(bool may_make)
{
	PyObject *capsule = PySys_GetObject(TETHER_PY_CAPSULE_);
	struct tether_py_interpreter_ *interpreter;

	if (!capsule || !PyCapsule_IsValid(capsule, TETHER_PY_CAPSULE_))
		return may_make && !TETHER_PY_IS_FINALIZING_() ? tether_py_make_() : NULL;
	interpreter = (struct tether_py_interpreter_ *)PyCapsule_GetPointer(capsule, TETHER_PY_CAPSULE_);
	/* A thread of the parent was inside when this process was forked. */
	if (TETHER_UNLIKELY_(!tether_owner_is_alive(interpreter->owner)) && tether_py_begin_(interpreter) != 0)
		return NULL;
	return interpreter;
}

/** The owner of what only a thread with the GIL may destroy, one for each interpreter; see the top. 0: it ends, or there
 * is no memory. It is drained by tether_py_drain() alone: do not enter it yourself.
 * When the interpreter ends, it is drained when atexit runs and once more when `sys` is taken apart; what is sent to
 * it later is leaked and reported, and nobody waits.
 * With the GIL. The first call in an interpreter makes it: allocates, imports atexit. */
static inline tether_owner_t tether_py_owner(void)
{
	struct tether_py_interpreter_ *interpreter = tether_py_find_(true);

	return interpreter ? interpreter->owner : 0;
}

/** Run what was sent to the interpreter's owner. Returns how much; 0 also while another thread is at it. With the GIL,
 * which what it runs may let go for a while. Extensions need not call it: tether_py_bind() does, and the main
 * thread before its next bytecode. Inside of it, destructors that run Python code may call anything of this header; but
 * the thread is the interpreter's owner meanwhile, and not itself: what that code makes is the interpreter's, and what it
 * uses or lets go of that is this thread's is another's, and reported as such. */
static inline size_t tether_py_drain(void)
{
	struct tether_py_interpreter_ *interpreter = tether_py_find_(false);
	tether_owner_t previous = interpreter ? tether_py_enter_(interpreter) : 0;
	size_t handled = 0;

	if (previous) {
		handled = tether_drain(0);
		tether_py_leave_(interpreter, previous);
	}
	return handled;
}

/* ---- Binding --------------------------------------------------------------------------------- */

/** tether_bind() for tp_new and tp_init: the calling thread's owner has the object from now on. With the option
 * script_places (on unless told) its label says where the script was; tether_set_label() replaces that. A thread that
 * becomes an owner by this gets the name that `threading` has for it. Drains the interpreter's owner.
 * With the GIL. Reports as tether_bind(). Sets no exception. */
TETHER_INLINE_ void tether_py_bind(struct tether *tag, const struct tether_type *type)
{
	tether_py_meet_();
	tether_bind(tag, type);
	if (tether_wants_places_())
		tether_py_label_(tag);
	(void)tether_py_drain();
}

/** Likewise, and the interpreter's owner has it: its destructor runs with the GIL, wherever it is dropped. Drop it with
 * tether_drop(), with the GIL or without; no thread passes its check but in tether_py_drain().
 * With the GIL. 0. -ESHUTDOWN: the interpreter ends, or there is no memory for its owner: the tag is left all zero.
 * -EINVAL: its type is TETHER_UNSENDABLE, reported; it is the calling thread's then. */
TETHER_INLINE_ int tether_py_bind_to_python(struct tether *tag, const struct tether_type *type)
{
	tether_owner_t owner = tether_py_owner();

	if (!owner) {
		memset(tag, 0, sizeof *tag);
		return -ESHUTDOWN;
	}
	tether_py_bind(tag, type);
	return tether_give(tag, tether_self(), owner);
}

/* ---- Using ----------------------------------------------------------------------------------- */

static TETHER_PY_COLD_ bool tether_py_refuse_(const struct tether *tag)
{
	struct tether_py_place_ place;
	char object[256], caller[96];

	if (tether_is_mine(tag))
		return true;
	tether_py_meet_();
	tether_py_place_take_(&place);
	(void)tether_check_failed_(tag, place.file, place.line, place.function);
	tether_py_place_put_(&place);
	(void)tether_describe(tag, object, sizeof object);
	(void)tether_describe_owner(tether_self(), caller, sizeof caller);
	PyErr_Format(PyExc_RuntimeError, "%s; used on %s", object, caller);
	return false;
}

TETHER_INLINE_ bool tether_py_ensure_(const struct tether *tag)
{
	return TETHER_UNLIKELY_(!tether_matches_(tag)) ? tether_py_refuse_(tag) : true;
}

/** TETHER_PY_ENSURE(tag): TETHER_ENSURE() for methods: if the object is not the calling thread's, it is reported with the
 * script's file and line, a RuntimeError that names both threads is set, and it is false. In every build.
 * With the GIL; not in tp_traverse, nor in tp_dealloc (see tether_py_drop()). tether_is_mine() is the same without a
 * report and without an exception. */
#define TETHER_PY_ENSURE(tag) tether_py_ensure_(tag)

/* ---- Letting go ------------------------------------------------------------------------------ */

/* Before it is dropped: what lies there is another's by then. */
static TETHER_PY_COLD_ void tether_py_tell_(const struct tether *tag)
{
	struct tether_py_place_ place;

	tether_py_meet_();
	tether_py_place_take_(&place);
	tether_drop_elsewhere_(tag, place.file, place.line, place.function);
	tether_py_place_put_(&place);
}

/** tether_drop() for tp_dealloc, of a payload: its destructor runs on its owner, at once if that is the calling thread. If
 * it is another's, that is told (TETHER_FOREIGN_DROP), with the script's file and line, once for each place and type
 * unless its level says otherwise: no mistake of the caller's, who happened to collect.
 * With the GIL, after PyObject_GC_UnTrack(): finding out where the script is may allocate, and so collect. Leaves a pending
 * exception alone. Never blocks. Reports as tether_drop(), too. Without the GIL: tether_drop(). */
TETHER_INLINE_ enum tether_dropped tether_py_drop(struct tether *tag)
{
	if (TETHER_UNLIKELY_(!tether_is_mine(tag)))
		tether_py_tell_(tag);
	return tether_drop(tag);
}

/** End a tag that lies in the PyObject itself, in tp_dealloc, before its memory goes. Such a tag is for checks alone: there
 * is nothing that could come home. Told as tether_py_drop() does; a tag that was never bound (tp_new failed) is not. */
static inline void tether_py_end(struct tether *tag)
{
	if (TETHER_UNLIKELY_(!tether_is_mine(tag)) && tag->state_ != 0) {
		tether_py_tell_(tag);
		tether_fini_elsewhere_(tag);
	} else if (tag->state_ != 0) {
		tether_fini(tag);
	}
}

/** The end of a heap type's tp_dealloc: the shell's memory goes where this runs, and its reference to the type. */
static inline void tether_py_free(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	type->tp_free(self);
	Py_DECREF(type);
}

/** tp_traverse of a heap type that refers to nothing but its type; or the last line of one that does.
 * Any thread, in the middle of anything: it touches no tag. */
static inline int tether_py_traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	return 0;
}

TETHER_END_

#endif
