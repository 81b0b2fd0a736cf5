/* SPDX-License-Identifier: MIT
 *
 * Where the next definitions of the wrapped functions are: in the first object after this library that has one, as with
 * RTLD_NEXT, of a default version.  Where none has (what glibc keeps only for old programs), the oldest in the first that has any;
 * libattr has such ones of functions that are libc's today.
 *
 * dlsym isn't asked: it allocates memory to say that a name is missing, and before glibc 2.34 always.  We may be started from
 * within the program's allocator: jemalloc reads its configuration under the lock that the second call would wait for.  And before
 * glibc 2.36 it finds the oldest version (bug 14932): a realpath that refuses NULL, an fopen of streams as they were in 1997.
 */
#include "preload.h"

#include <link.h>
#include <string.h>

#include "numbers.h"
#include "oldest.h"

extern ElfW(Dyn) _DYNAMIC[];		/* this library's; musl's headers haven't got it */

enum { HIDDEN = 0x8000 };		/* in a symbol's version: not the default one */

struct object {
	const char *base, *strings;
	const ElfW(Sym) *symbols;
	const ElfW(Half) *versions;	/* NULL: there are none */
	const uint32_t *gnu_hash;	/* one of the two, or neither */
	const Elf_Symndx *hash;
};

struct search {
	const struct rc_wanted *list;
	size_t count;
	bool here;			/* from this object on */
	bool old;			/* of no default version */
};

/* The dynamic linker has added the base to these addresses already, or (mips, musl) has not. */
static const void *address_of(const struct object *o, ElfW(Addr) value)
{
	return value < (ElfW(Addr))o->base ? o->base + value : (const void *)value;
}

static void read_object(struct object *o, const char *base, const ElfW(Dyn) *entry)
{
	*o = (struct object){ .base = base };
	for (; entry->d_tag != DT_NULL; entry++)
		switch (entry->d_tag) {
		case DT_SYMTAB: o->symbols = address_of(o, entry->d_un.d_ptr); break;
		case DT_STRTAB: o->strings = address_of(o, entry->d_un.d_ptr); break;
		case DT_VERSYM: o->versions = address_of(o, entry->d_un.d_ptr); break;
		case DT_GNU_HASH: o->gnu_hash = address_of(o, entry->d_un.d_ptr); break;
		case DT_HASH: o->hash = address_of(o, entry->d_un.d_ptr); break;
		}
}

/* Whether symbol `i` is such a definition of `name`, and a better one than symbol `best` (0: none yet). */
static bool is_better(const struct object *o, bool old, size_t i, size_t best, const char *name)
{
	const ElfW(Sym) *symbol = &o->symbols[i];

	if (symbol->st_shndx == SHN_UNDEF || (o->versions && (o->versions[i] & HIDDEN) != 0) != old ||
	    strcmp(o->strings + symbol->st_name, name))
		return false;
	return !best || (old && o->versions[i] < o->versions[best]);
}

static size_t find_by_gnu_hash(const struct object *o, bool old, const char *name)
{
	const uint32_t *table = o->gnu_hash, buckets = table[0], first = table[1], words = table[2];
	const ElfW(Addr) *bloom = (const void *)&table[4];
	const uint32_t *bucket = (const void *)&bloom[words], *chain = bucket + buckets;
	const unsigned bits = 8 * sizeof *bloom;
	uint32_t hash = 5381;
	ElfW(Addr) word;
	size_t best = 0;

	for (const char *c = name; *c; c++)
		hash = hash * 33 + (unsigned char)*c;
	word = bloom[hash / bits % words];
	if (!(word >> hash % bits & word >> (hash >> table[3]) % bits & 1))
		return 0;
	for (size_t i = bucket[hash % buckets]; i >= first && i; i++) {
		if ((chain[i - first] | 1) == (hash | 1) && is_better(o, old, i, best, name))
			best = i;
		if (chain[i - first] & 1)
			break;
	}
	return best;
}

static size_t find_by_hash(const struct object *o, bool old, const char *name)
{
	const Elf_Symndx *table = o->hash, *bucket = &table[2], *chain = bucket + table[0];
	uint32_t hash = 0;
	size_t best = 0;

	for (const char *c = name; *c; c++) {
		hash = (hash << 4) + (unsigned char)*c;
		hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
	}
	for (size_t i = bucket[hash % table[0]]; i; i = chain[i])
		if (is_better(o, old, i, best, name))
			best = i;
	return best;
}

/* NULL where the object hasn't got it. */
static void *find_in(const struct object *o, bool old, const char *name)
{
	size_t i = 0;

	if (o->symbols && o->strings && (o->versions || !old))
		i = o->gnu_hash ? find_by_gnu_hash(o, old, name) : o->hash ? find_by_hash(o, old, name) : 0;
	if (!i)
		return NULL;
	if ((o->symbols[i].st_info & 15) == STT_GNU_IFUNC)	/* what to call with is the dynamic linker's to know */
		return dlsym(RTLD_NEXT, name);
	return (void *)(o->base + o->symbols[i].st_value);
}

static int look(struct dl_phdr_info *info, size_t size, void *of)
{
	const char *base = (const char *)info->dlpi_addr;
	const ElfW(Dyn) *dynamic = NULL;
	struct search *s = of;
	struct object o;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			dynamic = (const void *)(base + info->dlpi_phdr[i].p_vaddr);
	if (!s->here || !dynamic) {
		s->here = s->here || dynamic == _DYNAMIC;
		return 0;
	}
	read_object(&o, base, dynamic);
	for (size_t i = 0; i < s->count; i++)
		if (!*s->list[i].next)
			*s->list[i].next = find_in(&o, s->old, s->list[i].name);
	return 0;
}

/* Stands in for what neither this libc nor the kernel has got. */
static long absent(void)
{
	errno = ENOSYS;
	return -1;
}

/* What the kernel may have and this libc has not: programs make such calls by number. */
#define BY_NUMBER(call) \
	static long call##_by_number(long a, long b, long c, long d, long e, long f) \
	{ \
		return rc_pass_syscall()(SYS_##call, a, b, c, d, e, f); \
	}
BY_NUMBER(close_range)
BY_NUMBER(copy_file_range)
BY_NUMBER(execveat)
BY_NUMBER(getdents64)
BY_NUMBER(renameat2)
BY_NUMBER(statx)

static void *stand_in(const char *name)
{
	static const struct {
		const char *name;
		long (*call)(long, long, long, long, long, long);
	} calls[] = {
#define CALL(call) { #call, call##_by_number }
		CALL(close_range), CALL(copy_file_range), CALL(execveat), CALL(getdents64), CALL(renameat2), CALL(statx),
#undef CALL
	};

	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (!strcmp(name, calls[i].name))
			return (void *)calls[i].call;
	return (void *)absent;
}

void rc_find_next(const struct rc_wanted *list, size_t count)
{
	struct search s = { .list = list, .count = count };

	dl_iterate_phdr(look, &s);
	s.here = false;
	s.old = true;
	dl_iterate_phdr(look, &s);
	for (size_t i = 0; i < count; i++)
		if (!*list[i].next)
			*list[i].next = stand_in(list[i].name);
}

void *rc_find_any(const char *name)
{
	void *found = NULL;
	struct search s = { .list = &(struct rc_wanted){ name, &found }, .count = 1, .here = true };

	dl_iterate_phdr(look, &s);
	return found;
}
