/* SPDX-License-Identifier: MIT */
#include "walk_ahead.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "cache.h"
#include "config.h"
#include "protocol.h"
#include "stats.h"
#include "sys.h"
#include "translate.h"
#include "transport.h"
#include "wire.h"

enum {
	SLOTS = 128, LISTINGS = 64, OPENED = 64, ASKED_IN = 16, QUESTIONS = 2,
	PATH = 256, NAMES = 24 * 1024,		/* bytes: a longer path, or what doesn't fit of a listing, is left to be asked for */
	FIRST_WINDOW = 8, MOST_WINDOW = 32,	/* of each type */
	MOST_IN_FLIGHT = 60,			/* a connection may have RC_LIMIT_MAX_IN_FLIGHT requests */
	REQUESTS_AT_ONCE = 32, REQUEST_ROOM = RC_HEADER_SIZE + RC_OPEN_REQUEST_SIZE + 4 + PATH + NAME_MAX + 1,
	ROOM = RC_OPEN_ROOM,
};

/* How programs name a directory: by a path from a handle, or from the root. */
struct way {
	uint64_t from;
	uint32_t length;
	char path[PATH];
};

enum type { FILES, DIRECTORIES, TYPES, DONE = 4 };

/* The entries of a directory, in its order. */
struct listing {
	uint64_t handle;		/* 0: none */
	struct way way;
	uint32_t age;			/* older ones come first */
	uint32_t size, next;		/* bytes of names; where to look for the next to be asked for, round and round */
	uint32_t left[TYPES];		/* entries that aren't DONE */
	uint32_t opened[TYPES];		/* by the program, one by one */
	char names[NAMES];		/* each: its type, | DONE: opened or asked for; its name, NUL */
};

enum state { FREE, ASKED, THERE, LISTED };

/* One OPEN, asked for ahead or come, or the listing that a directory's OPEN brought. */
struct slot {
	uint32_t state;			/* enum state; a futex word */
	enum type type;
	uint64_t parent;		/* handle of the directory that was listed */
	char name[NAME_MAX + 1];
	int flags;
	uint32_t id;
	uint64_t asked_ms;
	struct rc_opened opened;
};

static struct walk {
	struct slot slots[SLOTS];
	struct listing listings[LISTINGS];
	struct {
		uint64_t handle;
		struct way way;
	} opened[OPENED];
	struct asked {			/* directories some of whose names were asked about one by one */
		struct way way;
		uint32_t questions, answered;	/* by the server; by the listing that was then asked for */
		uint64_t asked_ms;		/* when it was; 0: it wasn't */
	} asked[ASKED_IN];
	uint8_t frames[REQUESTS_AT_ONCE * REQUEST_ROOM];
	uint8_t rooms[SLOTS][ROOM];
} *walk;

static struct {
	_Atomic int lock;		/* thread id; held for moments only, never while waiting for the server */
	_Atomic int receiver;		/* thread id: whoever takes replies from the line */
	_Atomic int pid;
	struct connection *line;
	uint32_t ages, next_opened;
	uint32_t window[TYPES];		/* slots at the most */
	uint32_t learned[TYPES];	/* 0, or the age that listings younger than it are wanted whole from */
	int flags[TYPES];		/* as the program opened the last */
	uint64_t tidied_ms;
	uint32_t next_asked;
	bool asks_for_all;		/* listings that were asked for were of use to who asks about names */
} now;

static uint64_t now_ms(void)
{
	return rc_sys_monotonic_ns() / 1000000;
}

/* --------------------------------------------------------------------------------------------------- state */

/* False: somebody is at it for longer than a moment (this thread, below us, if we are in a signal handler). */
static bool lock(void)
{
	int self = rc_sys_gettid();

	for (int i = 0; i < 64; i++) {
		int none = 0;

		if (atomic_compare_exchange_strong(&now.lock, &none, self))
			return true;
		if (none == self)
			return false;
		RC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
	}
	return false;
}

static void unlock(void)
{
	atomic_store(&now.lock, 0);
}

/* The same for the receiver, who has nothing else to do until he can say what came. */
static void lock_surely(void)
{
	while (!lock())
		;
}

static bool prepare(void)
{
	int none = 0, self = rc_sys_getpid();

	if (!rc_cache_on())
		return false;
	if (!walk) {
		struct walk *made = rc_sys_map(sizeof *walk);

		if (!made)
			return false;
		if (!__sync_bool_compare_and_swap(&walk, NULL, made))
			RC_SYS(SYS_munmap, made, sizeof *walk, 0, 0, 0, 0);
	}
	/* A vfork child has our memory, but another's connections. */
	return atomic_compare_exchange_strong(&now.pid, &none, self) || none == self;
}

void rc_walk_after_fork(void)
{
	if (!walk)
		return;
	for (int i = 0; i < SLOTS; i++)
		walk->slots[i].state = FREE;
	for (int i = 0; i < LISTINGS; i++)
		walk->listings[i].handle = 0;
	memset(&now, 0, sizeof now);
}

static void set_state(struct slot *slot, enum state state)
{
	atomic_store((_Atomic uint32_t *)&slot->state, state);
	rc_sys_futex_wake(&slot->state, INT_MAX);
}

/* How many more may be asked for, of one directory's entries (parent) or of all (0).  In batches: none before half of the last
 * has been used. */
static void count_room(uint64_t parent, unsigned room[TYPES])
{
	unsigned taken[TYPES] = { 0 }, in_flight = 0;

	for (int i = 0; i < SLOTS; i++) {
		const struct slot *slot = &walk->slots[i];

		in_flight += slot->state == ASKED;
		if ((slot->state == ASKED || slot->state == THERE) && (!parent || slot->parent == parent))
			taken[slot->type]++;
	}
	for (int i = 0; i < TYPES; i++) {
		room[i] = taken[i] > now.window[i] / 2 ? 0 : now.window[i] - taken[i];
		if (room[i] > (MOST_IN_FLIGHT - in_flight) / TYPES)
			room[i] = (MOST_IN_FLIGHT - in_flight) / TYPES;
	}
}

static bool too_old(const struct slot *slot)
{
	return !rc_cache_fresh((uint32_t)slot->asked_ms);
}

/* Nobody came for it. */
static void give_up(struct slot *slot)
{
	if (slot->state == THERE) {
		rc_call_close(slot->opened.handle);
		now.window[slot->type] /= 2;
		now.learned[slot->type] = 0;
	}
	set_state(slot, FREE);
}

static void tidy(void)
{
	uint64_t at_ms = now_ms();

	if (at_ms - now.tidied_ms < 100)
		return;
	now.tidied_ms = at_ms;
	for (int i = 0; i < SLOTS; i++)
		if ((walk->slots[i].state == THERE || walk->slots[i].state == LISTED) && too_old(&walk->slots[i]))
			give_up(&walk->slots[i]);
}

static void lose_line(void)
{
	if (now.line)
		rc_line_give_back(now.line, false);
	now.line = NULL;
	for (int i = 0; i < SLOTS; i++)
		if (walk->slots[i].state == ASKED)
			set_state(&walk->slots[i], FREE);
}

/* -------------------------------------------------------------------------------------------------- places */

static struct listing *listing_of(uint64_t handle)
{
	for (int i = 0; handle && i < LISTINGS; i++)
		if (walk->listings[i].handle == handle)
			return &walk->listings[i];
	return NULL;
}

static struct listing *listing_at(uint64_t from, const char *path, size_t length)
{
	for (int i = 0; i < LISTINGS; i++) {
		struct listing *l = &walk->listings[i];

		if (l->handle && l->way.from == from && l->way.length == length && !memcmp(l->way.path, path, length))
			return l;
	}
	return NULL;
}

/* The listed directory that a path's last component is a name in, and that name; NULL: none that we know. */
static struct listing *parent_of(struct rc_location at, const char **name)
{
	const char *slash = strrchr(at.path, '/');
	size_t length = slash ? (size_t)(slash - at.path) : 0;

	*name = slash ? slash + 1 : at.path;
	if (!slash)
		return listing_of(at.directory);
	return listing_at(at.directory, at.path, length);
}

/* How the directory that `at` leads to is named; false: in no way that can be put before a name. */
static bool way_of(struct rc_location at, struct way *way)
{
	size_t length = strlen(at.path), before;
	struct listing *parent;
	const char *name;

	while (length > 1 && at.path[length - 1] == '/')
		length--;
	parent = strchr(at.path, '/') ? NULL : parent_of(at, &name);
	before = parent ? parent->way.length + 1 : 0;
	if (!length || before + length >= PATH)
		return false;
	if (parent)
		*way = parent->way;
	else
		way->from = at.directory;
	if (parent)
		way->path[parent->way.length] = '/';
	memcpy(way->path + before, at.path, length);
	way->length = (uint32_t)(before + length);
	return true;
}

static void note_opened(uint64_t handle, const struct way *way)
{
	unsigned at = now.next_opened++ % OPENED;

	walk->opened[at].handle = handle;
	walk->opened[at].way = *way;
}

static struct slot *find_slot(uint64_t parent, const char *name, int flags)
{
	for (int i = 0; i < SLOTS; i++) {
		struct slot *slot = &walk->slots[i];

		if ((slot->state == ASKED || slot->state == THERE) && slot->parent == parent && slot->flags == flags &&
		    !strcmp(slot->name, name))
			return slot;
	}
	return NULL;
}

static struct slot *free_slot(void)
{
	for (int i = 0; i < SLOTS; i++)
		if (walk->slots[i].state == FREE)
			return &walk->slots[i];
	return NULL;
}

/* ------------------------------------------------------------------------------------------------- listings */

static int type_of(uint32_t type)
{
	return type == DT_REG ? FILES : type == DT_DIR ? DIRECTORIES : TYPES;
}

static struct listing *oldest_listing(void)
{
	struct listing *oldest = walk->listings;

	for (int i = 0; i < LISTINGS; i++) {
		struct listing *l = &walk->listings[i];

		if (!l->handle)
			return l;
		if (now.ages - l->age > now.ages - oldest->age)
			oldest = l;
	}
	return oldest;
}

static void keep_listing(uint64_t handle, const struct way *way, struct rc_entries entries)
{
	struct listing *l = listing_at(way->from, way->path, way->length);
	struct rc_entry entry;

	for (int i = 0; l && i < SLOTS; i++)		/* opened anew */
		if (walk->slots[i].parent == l->handle)
			walk->slots[i].parent = handle;
	if (!l) {
		l = oldest_listing();
		memset(l->opened, 0, sizeof l->opened);
		l->age = ++now.ages;
	}
	l->handle = handle;
	l->way = *way;
	l->size = l->next = 0;
	memset(l->left, 0, sizeof l->left);
	while (rc_next_entry(&entries, &entry)) {
		int type = type_of(entry.type);

		if (type == TYPES || entry.name_length > NAME_MAX || entry.name_length == 0 ||
		    (entry.name[0] == '.' && entry.name_length <= 2 && (entry.name_length == 1 || entry.name[1] == '.')))
			continue;
		if (l->size + entry.name_length + 2 > NAMES)
			break;
		l->left[type]++;
		l->names[l->size++] = (char)type;
		memcpy(l->names + l->size, entry.name, entry.name_length);
		l->size += (uint32_t)entry.name_length;
		l->names[l->size++] = '\0';
	}
}

void rc_walk_listed(uint64_t handle, struct rc_entries entries)
{
	if (!prepare() || !lock())
		return;
	for (int i = 0; i < OPENED; i++)
		if (walk->opened[i].handle == handle && !listing_of(handle)) {
			keep_listing(handle, &walk->opened[i].way, entries);
			break;
		}
	unlock();
}

static bool entries_of(const struct rc_opened *opened, struct rc_entries *entries)
{
	*entries = (struct rc_entries){ .rest = { .at = opened->data, .end = opened->data + opened->prefetched } };
	entries->end = rc_get_u32(&entries->rest) != 0;
	return opened->kind == RC_KIND_DIRECTORY && !entries->rest.failed;
}

size_t rc_walk_listing(uint64_t handle, void *buffer, size_t size, uint32_t *age_ms)
{
	size_t length = 0;
	uint64_t at_ms = now_ms();

	if (!prepare() || !lock())
		return 0;
	for (int i = 0; i < SLOTS; i++) {
		struct slot *slot = &walk->slots[i];

		if (slot->state != LISTED || slot->opened.handle != handle)
			continue;
		if (!too_old(slot) && slot->opened.prefetched <= size) {
			length = slot->opened.prefetched;
			memcpy(buffer, slot->opened.data, length);
			*age_ms = (uint32_t)(at_ms - slot->asked_ms);
		}
		set_state(slot, FREE);
	}
	unlock();
	return length;
}

/* ---------------------------------------------------------------------------------------------- asking ahead */

static void put_open(struct rc_writer *w, struct slot *slot, const struct way *way)
{
	uint32_t length = (uint32_t)strlen(slot->name), path = way->length + 1 + length;

	slot->id = rc_line_put(now.line, w, RC_OP_OPEN, RC_OPEN_REQUEST_SIZE + 4 + path);
	rc_put_u64(w, way->from);
	rc_put_u32(w, (uint32_t)rc_open_flags_to_wire(slot->flags));
	rc_put_u32(w, 0);
	rc_put_u32(w, 0);
	rc_put_u32(w, RC_LIMIT_MAX_PREFETCH);
	rc_put_u32(w, path);
	rc_put_bytes(w, way->path, way->length);
	rc_put_bytes(w, "/", 1);
	rc_put_bytes(w, slot->name, length);
}

static bool wants(const struct listing *l, enum type type, const unsigned room[TYPES])
{
	return room[type] && l->left[type] &&
	       (l->opened[type] >= 2 || (now.learned[type] && (int32_t)(l->age - now.learned[type]) > 0));
}

static void mark_done(struct listing *l, uint32_t at)
{
	if (l->names[at] & DONE)
		return;
	l->left[(int)l->names[at]]--;
	l->names[at] |= DONE;
}

/* The next entry that is worth asking for; false: none in this listing. */
static bool next_entry(struct listing *l, unsigned room[TYPES], struct slot *slot)
{
	while (wants(l, FILES, room) || wants(l, DIRECTORIES, room)) {
		uint32_t at = l->next < l->size ? l->next : 0;
		size_t length = strlen(l->names + at + 1);
		int type = l->names[at];

		l->next = at + (uint32_t)length + 2;
		if (type & DONE || !wants(l, (enum type)type, room))
			continue;
		mark_done(l, at);
		if (find_slot(l->handle, l->names + at + 1, now.flags[type]))
			continue;
		room[type]--;
		slot->type = (enum type)type;
		slot->parent = l->handle;
		slot->flags = now.flags[type];
		memcpy(slot->name, l->names + at + 1, length + 1);
		return true;
	}
	return false;
}

static struct listing *after(uint32_t age, const unsigned room[TYPES])
{
	struct listing *found = NULL;

	for (int i = 0; i < LISTINGS; i++) {
		struct listing *l = &walk->listings[i];

		if (l->handle && (wants(l, FILES, room) || wants(l, DIRECTORIES, room)) && (int32_t)(l->age - age) > 0 &&
		    (!found || (int32_t)(l->age - found->age) < 0))
			found = l;
	}
	return found;
}

static void ask_for(struct rc_writer *w, struct listing *l, unsigned room[TYPES])
{
	struct slot *slot;

	while ((size_t)(w->end - w->at) >= REQUEST_ROOM && (slot = free_slot()) && next_entry(l, room, slot)) {
		slot->asked_ms = now_ms();
		slot->state = ASKED;
		put_open(w, slot, &l->way);
	}
}

/* Sends requests until the window is full: the rest of the directory that the program is in, then others in the order in which
 * they were listed.  False: there is no line for them. */
static bool ask_ahead(struct listing *current)
{
	struct rc_writer w = { .at = walk->frames, .end = walk->frames + sizeof walk->frames };
	unsigned room[TYPES], first[TYPES];

	count_room(current->handle, first);
	count_room(0, room);
	if (!now.line && ((wants(current, FILES, first) || wants(current, DIRECTORIES, first)) ||
			  after(now.ages - LISTINGS - 1, room)))
		return false;
	ask_for(&w, current, first);
	count_room(0, room);
	for (struct listing *l = after(now.ages - LISTINGS - 1, room); l; l = after(l->age, room))
		ask_for(&w, l, room);
	if (w.at != walk->frames && rc_line_send(now.line, walk->frames, (size_t)(w.at - walk->frames)) < 0)
		lose_line();
	return true;
}

/* A line, for which the lock can't be held. */
static void take_line(void)
{
	struct connection *line;
	bool got = rc_line_take_ahead(&line) == 0;

	lock_surely();
	if (got && now.line)
		rc_line_give_back(line, true);
	else if (got)
		now.line = line;
	else
		memset(now.window, 0, sizeof now.window);
	unlock();
}

/* Whoever has `receiver`, without the lock: the next reply into its slot.  False: the line is of no more use. */
static bool take_reply(void)
{
	struct rc_header header;
	struct slot *slot = NULL;
	struct rc_entries entries;
	struct rc_reader r;
	struct rc_blob data;
	uint8_t *room, name[64];
	size_t done = 0;

	if (rc_line_header(now.line, &header) < 0 || header.operation != RC_OP_OPEN)
		return false;
	lock_surely();
	for (int i = 0; i < SLOTS && !slot; i++)
		if (walk->slots[i].state == ASKED && walk->slots[i].id == header.request_id)
			slot = &walk->slots[i];
	unlock();
	room = slot ? walk->rooms[slot - walk->slots] : NULL;
	if (!slot || header.length > (header.error ? sizeof name : (size_t)ROOM))
		return false;
	if (header.error)
		room = name;
	while (done < header.length) {
		struct iovec part = { room + done, header.length - done };
		ssize_t got = rc_line_receive(now.line, &part, 1);

		if (got < 0)
			return false;
		done += (size_t)got;
	}
	lock_surely();
	if (header.error) {
		set_state(slot, FREE);
		unlock();
		return true;
	}
	r = (struct rc_reader){ .at = room, .end = room + done };
	slot->opened.handle = rc_get_u64(&r);
	slot->opened.kind = rc_get_u32(&r);
	slot->opened.lease.held = false;
	rc_get_stat(&r, &slot->opened.stat);
	slot->opened.stat.mask = rc_statx_mask_from_wire(slot->opened.stat.mask);
	data = rc_get_blob(&r);
	slot->opened.data = data.bytes;
	slot->opened.prefetched = data.length;
	if (r.failed) {
		unlock();
		return false;
	}
	rc_count(RC_COUNT_READ_AHEAD, data.length);
	set_state(slot, THERE);
	if (entries_of(&slot->opened, &entries)) {
		struct listing *parent = listing_of(slot->parent);
		struct way way;

		if (parent && way_of((struct rc_location){ slot->parent, slot->name }, &way))
			keep_listing(slot->opened.handle, &way, entries);
	}
	unlock();
	return true;
}

/* Waits until the slot has its answer, taking replies where nobody else does. */
static bool wait_for(struct slot *slot)
{
	int self = rc_sys_gettid();

	while (atomic_load((_Atomic uint32_t *)&slot->state) == ASKED) {
		int none = 0;

		if (atomic_compare_exchange_strong(&now.receiver, &none, self)) {
			bool good = true;

			while (good && atomic_load((_Atomic uint32_t *)&slot->state) == ASKED && now.line)
				good = take_reply();
			if (!good) {
				lock_surely();
				lose_line();
				unlock();
			}
			atomic_store(&now.receiver, 0);
			for (int i = 0; i < SLOTS; i++)		/* another waits for his, and is to take it himself */
				if (walk->slots[i].state == ASKED)
					rc_sys_futex_wake(&walk->slots[i].state, INT_MAX);
		} else if (none == self) {
			return false;			/* a signal handler, above the receiver itself */
		} else {
			rc_sys_futex_wait(&slot->state, ASKED, 20);
		}
	}
	return true;
}

/* The reply that has come ahead, into the caller's hands; false: there is none. */
static bool hand_out(struct slot *slot, uint64_t parent, const char *name, int flags, void *room, size_t room_size,
		     struct rc_opened *opened)
{
	uint64_t at_ms = now_ms();

	/* It may have been another's meanwhile. */
	if (slot->state != THERE || slot->parent != parent || slot->flags != flags || strcmp(slot->name, name))
		return false;
	if (too_old(slot)) {
		give_up(slot);
		return false;
	}
	*opened = slot->opened;
	opened->age_ms = (uint32_t)(at_ms - slot->asked_ms);
	rc_count(RC_COUNT_READ_AHEAD_USED, slot->opened.prefetched);
	if (now.window[slot->type] < MOST_WINDOW)
		now.window[slot->type]++;			/* doubles with each window's worth that has been used */
	if (opened->kind == RC_KIND_DIRECTORY) {
		set_state(slot, slot->opened.prefetched ? LISTED : FREE);
		opened->data = NULL;
		opened->prefetched = 0;
		return true;
	}
	if (opened->prefetched > room_size)
		opened->prefetched = 0;
	if (opened->prefetched)
		memcpy(room, slot->opened.data, opened->prefetched);
	opened->data = room;
	set_state(slot, FREE);
	return true;
}

/* The program opens this name of a listing's: the others may be next. */
static void note_name(struct listing *l, const char *name, int flags)
{
	for (uint32_t at = 0; at < l->size; at += (uint32_t)strlen(l->names + at + 1) + 2) {
		enum type type = (enum type)(l->names[at] & ~DONE);

		if (strcmp(l->names + at + 1, name))
			continue;
		mark_done(l, at);
		now.flags[type] = flags;
		if (++l->opened[type] == 2 && !now.learned[type]) {
			l->next = at;			/* go on from where the program is */
			now.learned[type] = now.ages;
			now.window[type] = now.window[type] < FIRST_WINDOW ? FIRST_WINDOW : now.window[type];
		}
		return;
	}
}

/* An OPEN of our own.  A directory's listing is kept until it's read. */
static int open_now(struct rc_location at, const struct way *known, int flags, void *room, size_t room_size,
		    struct rc_opened *opened)
{
	uint64_t at_ms = now_ms();
	int result = rc_call_open(at, flags, 0, 0, room, room_size, opened);
	struct rc_entries entries;
	struct slot *slot;
	struct way way;

	if (result || opened->kind != RC_KIND_DIRECTORY || !prepare() || !lock())
		return result;
	slot = free_slot();
	if (known || way_of(at, &way)) {
		known = known ? known : &way;
		note_opened(opened->handle, known);
		if (entries_of(opened, &entries))
			keep_listing(opened->handle, known, entries);
	}
	if (slot && opened->prefetched) {
		slot->opened = *opened;
		slot->opened.data = memcpy(walk->rooms[slot - walk->slots], opened->data, opened->prefetched);
		slot->asked_ms = at_ms;
		set_state(slot, LISTED);
	}
	unlock();
	opened->prefetched = 0;
	return result;
}

int rc_walk_open(struct rc_location at, int flags, unsigned mode, uint64_t resolve, void *room, size_t room_size,
		 struct rc_opened *opened)
{
	struct listing *l;
	struct slot *slot = NULL;
	const char *name;
	uint64_t parent = 0;
	bool got = false, ready = true;

	opened->age_ms = 0;
	flags &= ~O_CLOEXEC;
	if (flags & (O_ACCMODE | O_PATH | O_CREAT | O_TRUNC | O_APPEND) || resolve || !*at.path || !prepare())
		return rc_call_open(at, flags, mode, resolve, room, room_size, opened);
	if (lock()) {
		tidy();
		l = parent_of(at, &name);
		if (l) {
			parent = l->handle;
			slot = find_slot(parent, name, flags);
			note_name(l, name, flags);
			ready = ask_ahead(l);
		}
		unlock();
	}
	if (!ready)
		take_line();
	if (slot && wait_for(slot) && lock()) {
		struct way way;

		got = hand_out(slot, parent, name, flags, room, room_size, opened);
		if (got && opened->kind == RC_KIND_DIRECTORY && way_of(at, &way))
			note_opened(opened->handle, &way);
		unlock();
	}
	if (!got) {
		int result = open_now(at, NULL, flags, room, room_size, opened);

		if (result)
			return result;
	}
	/* Its own entries, before the program has begun with them. */
	if (opened->kind == RC_KIND_DIRECTORY && lock()) {
		l = listing_of(opened->handle);
		ready = !l || ask_ahead(l);
		unlock();
		if (!ready)
			take_line();
	}
	return 0;
}

/* ------------------------------------------------------------------------------------------------ attributes */

/* Where the directory part of a path is written down: its record, a new one where there is none. */
static struct asked *asked_in(const struct way *way)
{
	struct asked *a;

	for (int i = 0; i < ASKED_IN; i++) {
		a = &walk->asked[i];
		if (a->way.from == way->from && a->way.length == way->length && !memcmp(a->way.path, way->path, way->length) &&
		    (a->questions || a->asked_ms))
			return a;
	}
	a = &walk->asked[now.next_asked++ % ASKED_IN];
	if (a->asked_ms && a->answered < QUESTIONS)
		now.asks_for_all = false;
	*a = (struct asked){ .way = *way };
	return a;
}

static struct slot *listed_slot(const struct way *way)
{
	struct listing *l = listing_at(way->from, way->path, way->length);

	for (int i = 0; l && i < SLOTS; i++)
		if (walk->slots[i].state == LISTED && walk->slots[i].opened.handle == l->handle &&
		    !too_old(&walk->slots[i]))
			return &walk->slots[i];
	return NULL;
}

static bool is_ascii(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)name[i] > 127)
			return false;
	return true;
}

static int find_in(const struct slot *slot, const char *name, bool follow, unsigned mask, struct rc_stat *stat)
{
	size_t length = strlen(name);
	struct rc_entries entries;
	struct rc_entry entry;
	bool searchable = false, exact = is_ascii(name, length) && rc_cache_keeps(&slot->opened.stat);

	if (!entries_of(&slot->opened, &entries))
		return -EAGAIN;
	while (rc_next_entry(&entries, &entry)) {
		searchable |= entry.has_stat;
		/* A directory may find names in either case. */
		exact = exact && is_ascii(entry.name, entry.name_length) &&
			(entry.name_length != length || strncasecmp(entry.name, name, length) || !memcmp(entry.name, name, length));
		if (entry.name_length != length || memcmp(entry.name, name, length))
			continue;
		if (!entry.has_stat || (follow && entry.type == DT_LNK) || entry.type == DT_UNKNOWN || mask & ~STATX_BASIC_STATS)
			return -EAGAIN;
		*stat = entry.stat;
		stat->mask = rc_statx_mask_from_wire(stat->mask);
		return 0;
	}
	/* Who may read a directory but not search it is told EACCES. */
	return exact && searchable && entries.end && !entries.rest.failed ? -ENOENT : -EAGAIN;
}

/* Asks for the listing of a directory, and for nothing else: its handle is closed again. */
static void list(const struct way *way)
{
	void *room = rc_sys_map(ROOM);
	char path[PATH + 1];
	struct rc_opened opened;

	if (!room)
		return;
	memcpy(path, way->length ? way->path : ".", way->length ? way->length : 1);
	path[way->length ? way->length : 1] = '\0';
	if (open_now((struct rc_location){ way->from, path }, way, O_RDONLY | O_DIRECTORY, room, ROOM, &opened) == 0)
		rc_call_close(opened.handle);
	RC_SYS(SYS_munmap, room, ROOM, 0, 0, 0, 0);
}

int rc_walk_stat(struct rc_location at, bool follow, unsigned mask, struct rc_stat *stat, uint32_t *asked_ms)
{
	const char *slash = strrchr(at.path, '/'), *name = slash ? slash + 1 : at.path;
	struct way way = { .from = at.directory, .length = slash ? (uint32_t)(slash - at.path) : 0 };
	int result = -EAGAIN;
	bool wanted;

	if (!*name || !strcmp(name, ".") || !strcmp(name, "..") || way.length >= PATH || (!way.length && (slash || !at.directory)) ||
	    strlen(name) > NAME_MAX || !prepare())
		return -EAGAIN;
	memcpy(way.path, at.path, way.length);
	for (int attempt = 0; attempt < 2 && result == -EAGAIN && lock(); attempt++) {
		struct slot *slot = listed_slot(&way);
		struct asked *a = asked_in(&way);

		wanted = false;
		if (slot) {
			result = find_in(slot, name, follow, mask, stat);
			*asked_ms = (uint32_t)slot->asked_ms;
		}
		if (result != -EAGAIN)
			now.asks_for_all |= ++a->answered >= QUESTIONS;
		else if (!slot && !attempt && ++a->questions >= (now.asks_for_all ? 1 : QUESTIONS) &&
			 (!a->asked_ms || a->answered >= QUESTIONS)) {
			wanted = true;
			a->asked_ms = now_ms();
			a->answered = 0;
		}
		unlock();
		if (!wanted)
			break;
		list(&way);
	}
	if (result != -EAGAIN)
		rc_count(RC_COUNT_FROM_LISTING, 1);
	return result;
}
