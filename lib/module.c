/* module.c - which loaded module an address lies in, and what identifies it.
 * SPDX-License-Identifier: MIT
 *
 * dladdr() would wait for the loader's lock, which a thread inside dlopen() holds for as long as the
 * module's constructors run. dl_iterate_phdr() takes another, which a child of fork() finds held for ever
 * if a thread of its parent was inside. So what glibc has for unwinders is asked where it is there
 * (2.35 and later): it takes no lock. */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "internal.h"
#include "module.h"

struct query {
	uintptr_t from, to;
	ElfW(Word) flags; /* of the segment */
	uintptr_t base;
	const char *name; /* NULL: not found */
};

static int look(struct dl_phdr_info *info, size_t size, void *context)
{
	struct query *query = context;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum && !query->name; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD || (segment->p_flags & query->flags) != query->flags || query->from < start ||
		    query->to > start + segment->p_memsz)
			continue;
		query->base = info->dlpi_addr;
		query->name = info->dlpi_name ? info->dlpi_name : "";
	}
	return query->name != NULL;
}

typedef int (*visitor_fn)(struct dl_phdr_info *info, size_t size, void *context);

#ifdef DLFO_STRUCT_HAS_EH_DBASE
/* As dl_iterate_phdr(), but only the module that an address lies in is visited. */
static int visit(uintptr_t address, visitor_fn visitor, void *context)
{
	struct dl_find_object found;

	if (_dl_find_object((void *)address, &found) != 0)
		return 0;
	const ElfW(Ehdr) *header = found.dlfo_map_start;
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
		return dl_iterate_phdr(visitor, context);
	struct dl_phdr_info info = {.dlpi_addr = found.dlfo_link_map->l_addr,
	                            .dlpi_name = found.dlfo_link_map->l_name,
	                            .dlpi_phdr = (const ElfW(Phdr) *)((const char *)header + header->e_phoff),
	                            .dlpi_phnum = header->e_phnum};
	return visitor(&info, sizeof info, context);
}
#else
static int visit(uintptr_t address, visitor_fn visitor, void *context)
{
	(void)address;
	return dl_iterate_phdr(visitor, context);
}
#endif

bool tetheri_module_has(const void *address, size_t bytes)
{
	struct query query = {.from = (uintptr_t)address, .to = (uintptr_t)address + bytes, .flags = PF_R};

	return query.to >= query.from && visit(query.from, look, &query) != 0;
}

/* A call may be the last instruction of its segment: what counts is where it is, not where it returns to. */
bool tetheri_module_has_code(const void *return_address)
{
	struct query query = {.from = (uintptr_t)return_address - 1, .to = (uintptr_t)return_address, .flags = PF_X};

	return return_address && visit(query.from, look, &query) != 0;
}

const char *tetheri_module_of(const void *address, uintptr_t *offset)
{
	struct query query = {.from = (uintptr_t)address, .to = (uintptr_t)address, .flags = PF_R};

	if (!address || visit(query.from, look, &query) == 0)
		return NULL;
	*offset = query.from - query.base;
	return query.name;
}

/* ---- What identifies a module ---------------------------------------------------------------- */

#define BUILD_ID_MAX 64 /* bytes; linkers write 8, 16 or 20 */
#define PATH_BYTES 1024

/* A program's own file: the kernel's name for it, else what it was started as. */
static const char *program_path(struct tetheri_scratch *scratch)
{
	char path[PATH_BYTES];
	int saved_errno = errno;
	ssize_t length = readlink("/proc/self/exe", path, sizeof path);
	const char *started_as = (const char *)getauxval(AT_EXECFN);

	errno = saved_errno;
	if (length > 0 && (size_t)length < sizeof path)
		return tetheri_scratch_string(scratch, path, (size_t)length);
	return started_as ? started_as : "";
}

static const char *hexadecimal(const unsigned char *bytes, size_t count, struct tetheri_scratch *scratch)
{
	char text[2 * BUILD_ID_MAX];

	for (size_t i = 0; i < count; i++) {
		text[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
		text[2 * i + 1] = "0123456789abcdef"[bytes[i] & 0xf];
	}
	return tetheri_scratch_string(scratch, text, 2 * count);
}

/* Notes follow each other: three words, a name, a description, both of them padded. */
static const char *find_build_id(const char *notes, size_t bytes, size_t align, struct tetheri_scratch *scratch)
{
	ElfW(Nhdr) note;

	while (bytes >= sizeof note) {
		memcpy(&note, notes, sizeof note);
		size_t name_end = sizeof note + note.n_namesz;
		size_t start = (name_end + align - 1) & ~(align - 1);
		size_t next = (start + note.n_descsz + align - 1) & ~(align - 1);

		if (start + note.n_descsz > bytes)
			return NULL;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof "GNU" &&
		    memcmp(notes + sizeof note, "GNU", sizeof "GNU") == 0 && note.n_descsz <= BUILD_ID_MAX)
			return hexadecimal((const unsigned char *)notes + start, note.n_descsz, scratch);
		if (next >= bytes)
			return NULL;
		notes += next;
		bytes -= next;
	}
	return NULL;
}

static const char *build_id_of(const struct dl_phdr_info *info, struct tetheri_scratch *scratch)
{
	const char *id = NULL;

	for (int i = 0; i < info->dlpi_phnum && !id; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		const char *notes = (const char *)(info->dlpi_addr + segment->p_vaddr);

		if (segment->p_type == PT_NOTE)
			id = find_build_id(notes, segment->p_memsz, segment->p_align == 8 ? 8 : 4, scratch);
	}
	return id;
}

static struct tetheri_module *describe(const struct dl_phdr_info *info, struct tetheri_scratch *scratch)
{
	struct tetheri_module *module = tetheri_scratch_take(scratch, sizeof *module);
	bool is_program = !info->dlpi_name || !*info->dlpi_name;

	if (!module)
		return NULL;
	*module = (struct tetheri_module){
		.path = is_program ? program_path(scratch) : tetheri_scratch_string(scratch, info->dlpi_name, strlen(info->dlpi_name)),
		.build_id = build_id_of(info, scratch),
		.base = info->dlpi_addr,
		.is_program = is_program,
	};
	return module;
}

struct search {
	const uintptr_t *addresses;
	const struct tetheri_module **modules;
	size_t count, left;
	struct tetheri_scratch *scratch;
};

/* The loader keeps everything between a module's first segment and its last for that module. */
static void span_of(const struct dl_phdr_info *info, uintptr_t *low, uintptr_t *high)
{
	*low = UINTPTR_MAX;
	*high = 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD)
			continue;
		*low = start < *low ? start : *low;
		*high = start + segment->p_memsz > *high ? start + segment->p_memsz : *high;
	}
}

static int search_one(struct dl_phdr_info *info, size_t size, void *context)
{
	struct search *search = context;
	const struct tetheri_module *module = NULL;
	uintptr_t low, high;

	(void)size;
	span_of(info, &low, &high);
	for (size_t i = 0; i < search->count; i++) {
		if (search->modules[i] || search->addresses[i] < low || search->addresses[i] >= high)
			continue;
		if (!module)
			module = describe(info, search->scratch);
		search->modules[i] = module;
		search->left--;
	}
	return search->left == 0;
}

void tetheri_module_find(const uintptr_t *addresses, size_t count, const struct tetheri_module **modules,
                         struct tetheri_scratch *scratch)
{
	struct search search = {addresses, modules, count, count, scratch};

	for (size_t i = 0; i < count; i++)
		modules[i] = NULL;
	for (size_t i = 0; i < count; i++)
		if (!modules[i])
			visit(addresses[i], search_one, &search);
}

struct list {
	struct tetheri_module *first;
	struct tetheri_scratch *scratch;
};

static int list_one(struct dl_phdr_info *info, size_t size, void *context)
{
	struct list *list = context;
	struct tetheri_module *module = describe(info, list->scratch);

	(void)size;
	if (!module)
		return 1;
	module->next = list->first;
	list->first = module;
	return 0;
}

const struct tetheri_module *tetheri_module_list(struct tetheri_scratch *scratch)
{
	struct list list = {.scratch = scratch};

	dl_iterate_phdr(list_one, &list);
	return list.first;
}
