/* python.c - python.h alone: each function, as an extension calls it.
 * SPDX-License-Identifier: MIT */
#include <tether/python.h>

struct payload {
	struct tether tether, at_python;
};

static const struct tether_type type = TETHER_TYPE(struct payload, tether, NULL);
static const struct tether_type type_at_python = TETHER_TYPE(struct payload, at_python, NULL);

int use(struct payload *payload, struct tether *tag, PyObject *self, visitproc visit);
int use(struct payload *payload, struct tether *tag, PyObject *self, visitproc visit)
{
	tether_py_bind(&payload->tether, &type);
	int error = tether_py_bind_to_python(&payload->at_python, &type_at_python);

	if (!TETHER_PY_ENSURE(&payload->tether) || !tether_py_owner() || !tether_py_self())
		return error;
	(void)tether_py_drop(&payload->tether);
	tether_py_end(tag);
	tether_py_free(self);
	(void)tether_py_drain();
	return tether_py_traverse(self, visit, NULL);
}
