/* path.c - file names as people want to read them.
 * SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "path.h"

#define PATH_BYTES 4096

/* Where the last component of what is written up to `out` begins; NULL: there is none that ".." can take back. */
static char *last_component(char *path, char *out)
{
	if (out <= path + (*path == '/'))
		return NULL;
	char *slash = memrchr(path, '/', (size_t)(out - path) - 1);
	char *last = slash ? slash + 1 : path;
	return out - last == 3 && memcmp(last, "../", 3) == 0 ? NULL : last;
}

/* "/a/b/../../c/./d.c" becomes "/c/d.c", in place. What links make of ".." does not matter here: the name was
 * made by a compiler, from two that it joined. */
static void squeeze(char *path)
{
	char *out = path, *in = path;

	while (*in) {
		size_t length = strcspn(in, "/");
		bool has_slash = in[length] == '/';
		bool is_up = length == 2 && in[0] == '.' && in[1] == '.';
		bool is_same = length == 1 && in[0] == '.';
		char *last = last_component(path, out);

		if (is_up && last) {
			out = last;
		} else if (is_up && *path == '/' && out == path + 1) {
			; /* "/.." is "/" */
		} else if (!is_same) {
			memmove(out, in, length);
			out += length;
			if (has_slash)
				*out++ = '/';
		}
		in += length + has_slash;
	}
	*out = '\0';
}

const char *tetheri_path_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void tetheri_path_start(struct tetheri_path *path, struct tetheri_scratch *scratch)
{
	*path = (struct tetheri_path){.scratch = scratch, .directory = tetheri_scratch_take(scratch, PATH_BYTES)};
	if (!path->directory)
		return;
	/* Raw: getcwd() may allocate. The length that it returns counts the 0. */
	long length = syscall(SYS_getcwd, path->directory, PATH_BYTES - 1);
	path->length = length > 1 && path->directory[0] == '/' ? (size_t)length - 1 : 0;
}

const char *tetheri_path_tidy(struct tetheri_path *path, const char *file)
{
	if (!file || file == path->given)
		return file ? path->tidy : NULL;
	size_t length = strlen(file);
	char *copy = tetheri_scratch_take(path->scratch, length + 1);
	if (!copy)
		return file;
	memcpy(copy, file, length + 1);
	squeeze(copy);
	bool is_below = path->length > 0 && strncmp(copy, path->directory, path->length) == 0 && copy[path->length] == '/';
	char *tidy = is_below ? copy + path->length + 1 : copy;
	/* From a build directory, which only the compiler knew: from there on it is the project's own. */
	while (strncmp(tidy, "../", 3) == 0)
		tidy += 3;
	path->given = file;
	path->tidy = tidy;
	return tidy;
}
