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
	SLOTS = 128, LISTINGS = 64, OPENED = 64, ASKED_IN = 32, QUESTIONS = 2, MOST_TRUST = 4,
	PATH = 256, NAMES = 24 * 1024,		/* bytes: a longer path, or what doesn't fit of a listing, is left to be asked for */
	FIRST_WINDOW = 8, MOST_WINDOW = 32,	/* of each type; twice as many directories to begin with */
	MOST_IN_FLIGHT = 60,			/* a connection may have RC_LIMIT_MAX_IN_FLIGHT requests */
	LITTLE = 256 * 1024,			/* files of a directory that are so much together are worth asking for at once */
	REQUESTS_AT_ONCE = 32, REQUEST_ROOM = RC_HEADER_SIZE + RC_OPEN_REQUEST_SIZE + 4 + PATH + NAME_MAX + 1,
	ROOM = RC_OPEN_ROOM,
	IDLE_MS = 1000, TIDY_MS = 250,		/* after which the walk is over; how often that is looked at */
};

/* How programs name a directory: by a path from a handle, or from the root. */
struct way {
	uint64_t from;
	uint32_t length;
	char path[PATH];
};

enum type { FILES, DIRECTORIES, TYPES };
enum { TYPE = 3, DONE = 4, BEEN = 8, ENTRY = 16 };	/* a byte before each name: its type and what has been done; never 0 */

/* How programs go through a listing: as it comes, from its end (who puts it on a stack), or by names. */
enum order { FORWARD, BACKWARD, BY_NAME };

/* The entries of a directory, in its order. */
struct listing {
	uint64_t handle;
	struct way way;
	uint32_t age;			/* older ones come first */
	enum order order;
	uint32_t size, at;		/* bytes of names; where the last that was opened or asked for is, in that order */
	uint64_t bytes;			/* of its files */
	uint32_t total[TYPES], last[TYPES];	/* last: where the program was */
	uint32_t left[TYPES];		/* entries that aren't DONE */
	uint32_t opened[TYPES];		/* by the program, one by one */
	char names[NAMES];		/* each: type | ENTRY, | DONE: opened or asked for, | BEEN: opened; its name, NUL */
};

enum state { FREE, ASKED, THERE, LISTED };

/* One OPEN, asked for ahead or come, or the listing that a directory's OPEN brought. */
struct slot {
	uint32_t state;			/* enum state; a futex word */
	enum type type;
	uint64_t parent;		/* handle of the directory that was listed; 0: it's asked for on its own */
	char name[NAME_MAX + 1];
	struct way way;			/* of DIRECTORIES */
	int flags;
	uint32_t id, serial;		/* of the request; of all that slots were ever used for */
	uint64_t asked_ms;
	bool used;			/* THERE: its listing has been of use, the handle not yet; LISTED: the program has read it */
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
		uint32_t questions, answered;	/* by the server, of other names than the last; by the listing that was then asked for */
		uint32_t last;			/* that name, in 32 bits */
		uint64_t asked_ms;		/* when it was; 0: it wasn't */
	} asked[ASKED_IN];
	uint8_t frames[REQUESTS_AT_ONCE * REQUEST_ROOM];
	uint8_t rooms[SLOTS][ROOM];
} *walk;

static struct {
	_Atomic int lock;		/* thread id; held for moments only, never while waiting for the server */
	_Atomic int receiver;		/* thread id: whoever takes replies from the line */
	_Atomic int pid;
	struct connection *line, *receiving;	/* receiving: the one that a reply is being taken from; NULL: none is */
	struct slot *into;			/* whose reply that is, as far as that is known */
	_Atomic int slots;		/* how many of walk's have been of use: what lies beyond costs no page of memory, and no fork a copy */
	int listings;
	uint32_t ages, serials, next_opened;
	uint32_t window[TYPES];		/* slots at the most */
	uint32_t learned[TYPES];	/* 0, or the age that listings younger than it are wanted whole from */
	int flags[TYPES];		/* as the program opened the last */
	uint64_t used_ms;		/* when a program opened something last */
	enum order order;		/* of the last listing that showed one */
	uint64_t tidied_ms;
	uint32_t held;			/* futex word: something may have been asked for and not been come for */
	uint32_t next_asked;
	uint32_t trust;			/* listings that were of use to who asks about names, less those that weren't */
} now;

static uint64_t now_ms(void)
{
	return rc_sys_monotonic_ns() / 1000000;
}

/* --------------------------------------------------------------------------------------------------- state */

enum { ATTEMPTS = RC_SYS_YIELDS + 32 };

/* False: somebody is at it for longer than a moment (this thread, below us, if we are in a signal handler). */
static bool lock(void)
{
	int self = rc_sys_gettid();

	for (int i = 0; i < ATTEMPTS; i++) {
		int none = 0;

		if (atomic_compare_exchange_strong(&now.lock, &none, self))
			return true;
		if (none == self)
			return false;
		rc_sys_pause(i);
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
	memset(&now, 0, sizeof now);
}

static void set_state(struct slot *slot, enum state state)
{
	atomic_store((_Atomic uint32_t *)&slot->state, state);
	rc_sys_futex_wake(&slot->state, INT_MAX);
}

/* How many more may be asked for, of one directory's entries or of all (NULL).  In batches: none before half of the last
 * has been used. */
static void count_room(const struct listing *l, unsigned room[TYPES])
{
	unsigned taken[TYPES] = { 0 }, in_flight = 0;

	for (int i = 0; i < now.slots; i++) {
		const struct slot *slot = &walk->slots[i];

		in_flight += slot->state == ASKED;
		if ((slot->state == ASKED || (slot->state == THERE && !slot->used)) && (!l || slot->parent == l->handle))
			taken[slot->type]++;
	}
	for (int i = 0; i < TYPES; i++) {
		bool whole = i == FILES && l && l->bytes <= LITTLE;

		room[i] = whole ? MOST_IN_FLIGHT : taken[i] > now.window[i] / 2 ? 0 : now.window[i] - taken[i];
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
	if (slot->state == THERE)
		rc_call_close(slot->opened.handle);
	if (slot->state == THERE && !slot->used) {
		now.window[slot->type] /= 2;
		now.learned[slot->type] = 0;
	}
	set_state(slot, FREE);
}

/* `all`: the walk is over. */
static void tidy(bool all)
{
	now.tidied_ms = now_ms();
	for (int i = 0; i < now.slots; i++)
		if ((walk->slots[i].state == THERE || walk->slots[i].state == LISTED) && (all || too_old(&walk->slots[i])))
			give_up(&walk->slots[i]);
}

/* Whoever receives from it gives it back, and what he receives. */
static void lose_line(void)
{
	if (now.line && now.line == now.receiving)
		rc_line_hang_up(now.line);
	else if (now.line)
		rc_line_give_back(now.line, false);
	now.line = NULL;
	for (int i = 0; i < now.slots; i++)
		if (walk->slots[i].state == ASKED && &walk->slots[i] != now.into)
			set_state(&walk->slots[i], FREE);
}

/* -------------------------------------------------------------------------------------------------- places */

static struct listing *listing_of(uint64_t handle)
{
	for (int i = 0; handle && i < now.listings; i++)
		if (walk->listings[i].handle == handle)
			return &walk->listings[i];
	return NULL;
}

static struct listing *listing_at(uint64_t from, const char *path, size_t length)
{
	for (int i = 0; i < now.listings; i++) {
		struct listing *l = &walk->listings[i];

		if (l->way.from == from && l->way.length == length && !memcmp(l->way.path, path, length))
			return l;
	}
	return NULL;
}

/* The listed directory that a path's last component is a name in, and that name; NULL: none that we know. */
static struct listing *parent_of(struct rc_location at, const char **name)
{
	const char *slash = strrchr(at.path, '/');
	size_t length = slash ? (size_t)(slash - at.path) : 0;

	struct listing *l = slash ? NULL : listing_of(at.directory);

	*name = slash ? slash + 1 : at.path;
	return l || (slash && !length) ? l : listing_at(at.directory, at.path, length);
}

/* What comes between the way to a directory and a name in it: bytes of "/". */
static uint32_t joint(const struct way *way)
{
	return way->length != 0;
}

static bool same_way(const struct way *a, const struct way *b)
{
	return a->from == b->from && a->length == b->length && !memcmp(a->path, b->path, a->length);
}

/* How the directory that `at` leads to is named; false: in no way that can be put before a name. */
static bool way_of(struct rc_location at, struct way *way)
{
	size_t length = strlen(at.path), before;
	struct listing *parent;
	const char *name;

	while (length > 1 && at.path[length - 1] == '/')
		length--;
	if (at.directory && length == 1 && *at.path == '.') {
		*way = (struct way){ .from = at.directory };
		return true;
	}
	parent = strchr(at.path, '/') ? NULL : parent_of(at, &name);
	before = parent ? parent->way.length + joint(&parent->way) : 0;
	if (!length || before + length >= PATH)
		return false;
	if (parent)
		*way = parent->way;
	else
		way->from = at.directory;
	if (before)
		way->path[before - 1] = '/';
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

enum { ANY = -1 };

/* Where the listing of a directory is on its way, or has come. */
static struct slot *slot_of(const struct way *way, int flags)
{
	for (int i = 0; i < now.slots; i++) {
		struct slot *slot = &walk->slots[i];

		if ((slot->state == ASKED || slot->state == THERE) && slot->type == DIRECTORIES && (flags == ANY || slot->flags == flags) &&
		    same_way(&slot->way, way))
			return slot;
	}
	return NULL;
}

static struct slot *find_slot(uint64_t parent, const char *name, int flags)
{
	for (int i = 0; i < now.slots; i++) {
		struct slot *slot = &walk->slots[i];

		if ((slot->state == ASKED || slot->state == THERE) && slot->parent == parent && slot->flags == flags &&
		    !strcmp(slot->name, name))
			return slot;
	}
	return NULL;
}

/* One that is free, else the oldest listing that isn't waited for. */
static struct slot *free_slot(void)
{
	struct slot *oldest = NULL;

	for (int i = 0; i < now.slots; i++) {
		struct slot *slot = &walk->slots[i];

		if (slot->state == FREE)
			return slot;
		if ((slot->state == LISTED || (slot->state == THERE && slot->used)) && (!oldest || slot->asked_ms < oldest->asked_ms))
			oldest = slot;
	}
	if (now.slots < SLOTS) {
		oldest = &walk->slots[now.slots++];
		oldest->state = FREE;
	} else if (oldest) {
		give_up(oldest);
	}
	return oldest;
}

/* ------------------------------------------------------------------------------------------------- listings */

static int type_of(uint32_t type)
{
	return type == DT_REG ? FILES : type == DT_DIR ? DIRECTORIES : TYPES;
}

static struct listing *oldest_listing(void)
{
	struct listing *oldest = walk->listings;

	for (int i = 0; i < now.listings; i++) {
		struct listing *l = &walk->listings[i];

		if (now.ages - l->age > now.ages - oldest->age)
			oldest = l;
	}
	return now.listings < LISTINGS ? &walk->listings[now.listings++] : oldest;
}

static void keep_listing(uint64_t handle, const struct way *way, struct rc_entries entries)
{
	struct listing *l = listing_at(way->from, way->path, way->length);
	struct rc_entry entry;

	for (int i = 0; l && i < now.slots; i++)		/* opened anew */
		if (walk->slots[i].parent == l->handle)
			walk->slots[i].parent = handle;
	if (!l) {
		l = oldest_listing();
		l->opened[DIRECTORIES] = 0;
		l->age = ++now.ages;
	}
	l->opened[FILES] = 0;
	l->handle = handle;
	l->way = *way;
	l->size = 0;
	l->bytes = 0;
	l->order = now.order;
	memset(l->left, 0, sizeof l->left);
	memset(l->total, 0, sizeof l->total);
	while (rc_next_entry(&entries, &entry)) {
		int type = type_of(entry.type);

		if (type == TYPES || entry.name_length > NAME_MAX || entry.name_length == 0 ||
		    (entry.name[0] == '.' && entry.name_length <= 2 && (entry.name_length == 1 || entry.name[1] == '.')))
			continue;
		if (l->size + entry.name_length + 2 > NAMES)
			break;
		l->left[type]++;
		l->total[type]++;
		l->bytes += type == DIRECTORIES ? 0 : entry.has_stat ? entry.stat.size : LITTLE + 1;
		l->names[l->size++] = (char)(type | ENTRY);
		memcpy(l->names + l->size, entry.name, entry.name_length);
		l->size += (uint32_t)entry.name_length;
		l->names[l->size++] = '\0';
	}
	l->at = l->size;
}

void rc_walk_listed(uint64_t handle, struct rc_entries entries)
{
	if (!prepare() || !lock())
		return;
	for (unsigned i = 0; i < now.next_opened && i < OPENED; i++)
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
	for (int i = 0; i < now.slots; i++) {
		struct slot *slot = &walk->slots[i];

		if (slot->state != LISTED || slot->opened.handle != handle)
			continue;
		if (!slot->used && !too_old(slot) && slot->opened.prefetched <= size) {
			length = slot->opened.prefetched;
			memcpy(buffer, slot->opened.data, length);
			*age_ms = (uint32_t)(at_ms - slot->asked_ms);
		}
		slot->used = true;
	}
	unlock();
	return length;
}

/* ---------------------------------------------------------------------------------------------- asking ahead */

static void send_requests(const struct rc_writer *w)
{
	if (rc_line_send(now.line, walk->frames, (size_t)(w->at - walk->frames)) < 0)
		lose_line();
	else if (!__atomic_exchange_n(&now.held, 1, __ATOMIC_SEQ_CST))
		rc_sys_futex_wake(&now.held, 1);
}

static void put_open(struct rc_writer *w, struct slot *slot, const struct way *way, const char *name)
{
	uint32_t length = (uint32_t)strlen(name), path = way->length + joint(way) + length;

	slot->asked_ms = now_ms();
	slot->used = false;
	slot->serial = ++now.serials;
	slot->state = ASKED;
	slot->id = rc_line_put(now.line, w, RC_OP_OPEN, RC_OPEN_REQUEST_SIZE + 4 + path);
	rc_put_u64(w, way->from);
	rc_put_u32(w, (uint32_t)rc_open_flags_to_wire(slot->flags));
	rc_put_u32(w, 0);
	rc_put_u32(w, 0);
	rc_put_u32(w, RC_LIMIT_MAX_PREFETCH);
	rc_put_u32(w, path);
	rc_put_bytes(w, way->path, way->length);
	rc_put_bytes(w, "/", joint(way));
	rc_put_bytes(w, name, length);
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
	l->left[l->names[at] & TYPE]--;
	l->names[at] |= DONE;
}

/* The entry after the one at `at`, or before it, round and round.  `size`: before the first and after the last. */
static uint32_t step(const struct listing *l, uint32_t at, bool back)
{
	if (!back) {
		at += at < l->size ? (uint32_t)strlen(l->names + at) + 1 : 0;
		return at < l->size ? at : 0;
	}
	at = at ? at : l->size;
	for (at--; at && l->names[at - 1]; at--)
		;
	return at;
}

/* The one that is next by its name. */
static uint32_t next_name(const struct listing *l, const unsigned room[TYPES])
{
	const char *last = l->at < l->size ? l->names + l->at + 1 : "";
	uint32_t least = l->size, next = l->size;

	for (uint32_t at = 0; at < l->size; at += (uint32_t)strlen(l->names + at) + 1) {
		const char *name = l->names + at + 1;

		if (l->names[at] & DONE || !wants(l, (enum type)(l->names[at] & TYPE), room))
			continue;
		if (least == l->size || strcmp(name, l->names + least + 1) < 0)
			least = at;
		if (strcmp(name, last) > 0 && (next == l->size || strcmp(name, l->names + next + 1) < 0))
			next = at;
	}
	return next < l->size ? next : least;
}

/* The next entry that is worth asking for; false: none in this listing. */
static bool next_entry(struct listing *l, unsigned room[TYPES], struct slot *slot)
{
	while (wants(l, FILES, room) || wants(l, DIRECTORIES, room)) {
		uint32_t at = l->order == BY_NAME ? next_name(l, room) : step(l, l->at, l->order == BACKWARD);
		const char *name = l->names + at + 1;
		enum type type = (enum type)(l->names[at] & TYPE);

		l->at = at;
		if (l->names[at] & DONE || !wants(l, type, room))
			continue;
		mark_done(l, at);
		if (find_slot(l->handle, name, now.flags[type]) ||
		    (type == DIRECTORIES && (!way_of((struct rc_location){ l->handle, name }, &slot->way) ||
					     slot_of(&slot->way, now.flags[type]))))
			continue;
		room[type]--;
		slot->type = type;
		slot->parent = l->handle;
		slot->flags = now.flags[type];
		strcpy(slot->name, name);
		return true;
	}
	return false;
}

static struct listing *after(uint32_t age, const unsigned room[TYPES])
{
	struct listing *found = NULL;

	for (int i = 0; i < now.listings; i++) {
		struct listing *l = &walk->listings[i];

		if ((wants(l, FILES, room) || wants(l, DIRECTORIES, room)) && (int32_t)(l->age - age) > 0 &&
		    (!found || (int32_t)(l->age - found->age) < 0))
			found = l;
	}
	return found;
}

static void ask_for(struct rc_writer *w, struct listing *l, unsigned room[TYPES])
{
	struct slot *slot;

	while ((size_t)(w->end - w->at) >= REQUEST_ROOM && (wants(l, FILES, room) || wants(l, DIRECTORIES, room)) &&
	       (slot = free_slot()) && next_entry(l, room, slot))
		put_open(w, slot, &l->way, slot->name);
}

/* Sends requests until the window is full: the rest of the directory that the program is in, then others in the order in which
 * they were listed.  False: there is no line for them. */
static bool ask_ahead(struct listing *current)
{
	struct rc_writer w = { .at = walk->frames, .end = walk->frames + sizeof walk->frames };
	unsigned room[TYPES], first[TYPES];

	count_room(current, first);
	count_room(NULL, room);
	if (!now.line && ((wants(current, FILES, first) || wants(current, DIRECTORIES, first)) ||
			  after(now.ages - LISTINGS - 1, room)))
		return false;
	ask_for(&w, current, first);
	count_room(NULL, room);
	for (struct listing *l = after(now.ages - LISTINGS - 1, room); l; l = after(l->age, room))
		ask_for(&w, l, room);
	if (w.at != walk->frames)
		send_requests(&w);
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

/* What was asked for on this line and waits for this reply; NULL: nothing any more. */
static struct slot *asked_on(const struct connection *line, uint32_t id)
{
	for (int i = 0; now.line == line && i < now.slots; i++)
		if (walk->slots[i].state == ASKED && walk->slots[i].id == id)
			return &walk->slots[i];
	return NULL;
}

/* The next reply into its slot.  False: the line is of no more use. */
static bool receive_reply(struct connection *line)
{
	struct rc_header header;
	struct rc_entries entries;
	struct rc_reader r;
	struct rc_blob data;
	uint8_t *room, name[64];
	struct slot *slot;

	if (rc_line_header(line, &header) < 0 || header.operation != RC_OP_OPEN)
		return false;
	lock_surely();
	now.into = slot = asked_on(line, header.request_id);
	unlock();
	room = slot ? walk->rooms[slot - walk->slots] : NULL;
	if (!slot || header.length > (header.error ? sizeof name : (size_t)ROOM))
		return false;
	if (header.error)
		room = name;
	if (rc_line_receive_all(line, room, header.length) < 0)
		return false;
	lock_surely();
	if (now.line != line) {
		unlock();
		return false;
	}
	if (header.error) {
		now.into = NULL;
		set_state(slot, FREE);
		unlock();
		return true;
	}
	r = (struct rc_reader){ .at = room, .end = room + header.length };
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
	now.into = NULL;
	set_state(slot, THERE);
	if (slot->type == DIRECTORIES && entries_of(&slot->opened, &entries))
		keep_listing(slot->opened.handle, &slot->way, entries);
	unlock();
	return true;
}

/* Whoever has `receiver`, without the lock.  False: there is nothing to take a reply from. */
static bool take_reply(void)
{
	struct connection *line;
	bool good;

	lock_surely();
	line = now.receiving = now.line;
	unlock();
	if (!line)
		return false;
	good = receive_reply(line);
	lock_surely();
	now.receiving = NULL;
	if (now.line != line) {		/* lost meanwhile, by who couldn't send */
		rc_line_give_back(line, false);
		if (now.into)
			set_state(now.into, FREE);
	}
	now.into = NULL;
	if (now.line == line && !good)
		lose_line();
	unlock();
	return true;
}

static bool waits(const struct slot *slot)
{
	return atomic_load((const _Atomic uint32_t *)&slot->state) == ASKED;
}

/* Whoever has `receiver`, which it gives up: takes replies until the slot has its own. */
static void take_replies(const struct slot *slot)
{
	while (waits(slot) && take_reply())
		;
	atomic_store(&now.receiver, 0);
	for (int i = 0; i < now.slots; i++)		/* another waits for his, and is to take it himself */
		if (walk->slots[i].state == ASKED)
			rc_sys_futex_wake(&walk->slots[i].state, INT_MAX);
}

/* Waits until the slot has its answer, taking replies where nobody else does. */
static bool wait_for(struct slot *slot)
{
	int self = rc_sys_gettid();

	while (waits(slot)) {
		int none = 0;

		if (atomic_compare_exchange_strong(&now.receiver, &none, self))
			take_replies(slot);
		else if (none == self)
			return false;			/* a signal handler, above the receiver itself */
		else
			rc_sys_futex_wait(&slot->state, ASKED, 20);
	}
	return true;
}

void rc_walk_keep_tidy(void)
{
	for (;;) {
		bool over, held = false;

		while (!__atomic_load_n(&now.held, __ATOMIC_SEQ_CST))
			rc_sys_futex_wait(&now.held, 0, -1);
		rc_sys_poll(NULL, 0, TIDY_MS);
		over = now_ms() - now.used_ms >= IDLE_MS;
		for (int i = 0; over && i < now.slots; i++)		/* a reply that nobody takes holds a handle, too */
			wait_for(&walk->slots[i]);
		lock_surely();
		tidy(over);
		for (int i = 0; i < now.slots; i++)
			held |= walk->slots[i].state == ASKED || walk->slots[i].state == THERE;
		__atomic_store_n(&now.held, held, __ATOMIC_SEQ_CST);
		unlock();
	}
}

static void note_use(struct slot *slot)
{
	if (slot->used)
		return;
	slot->used = true;
	rc_count(RC_COUNT_READ_AHEAD_USED, slot->opened.prefetched);
	if (now.window[slot->type] < MOST_WINDOW)
		now.window[slot->type]++;			/* doubles with each window's worth that has been used */
}

/* The reply that has come ahead, into the caller's hands; false: there is none. */
static bool hand_out(struct slot *slot, uint32_t serial, void *room, size_t room_size, struct rc_opened *opened)
{
	uint64_t at_ms = now_ms();

	if (slot->state != THERE || slot->serial != serial)	/* another's meanwhile */
		return false;
	if (too_old(slot)) {
		give_up(slot);
		return false;
	}
	*opened = slot->opened;
	opened->age_ms = (uint32_t)(at_ms - slot->asked_ms);
	note_use(slot);
	if (opened->kind == RC_KIND_DIRECTORY) {
		set_state(slot, slot->opened.prefetched ? LISTED : FREE);
		slot->used = false;
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

/* The oldest listing most of whose entries of this type have been opened; NULL: none. */
static const struct listing *gone_through(enum type type)
{
	const struct listing *oldest = NULL;

	for (int i = 0; i < now.listings; i++) {
		const struct listing *l = &walk->listings[i];

		if (l->opened[type] >= 2 && 4 * l->opened[type] >= 3 * l->total[type] &&
		    (!oldest || (int32_t)(l->age - oldest->age) < 0))
			oldest = l;
	}
	return oldest;
}

/* In which order a program goes that opens what is at `at` after what is at `last`. */
static enum order order_of(const struct listing *l, uint32_t last, uint32_t at)
{
	for (int back = 0; back < 2; back++) {
		uint32_t next = last;

		do	/* entries of another type don't count */
			next = step(l, next, back);
		while ((l->names[next] ^ l->names[at]) & TYPE);
		if (next == at)
			return back ? BACKWARD : FORWARD;
	}
	return strcmp(l->names + at + 1, l->names + last + 1) > 0 ? BY_NAME : at > last ? FORWARD : BACKWARD;
}

/* The program opens this name of a listing's, or (`asks`) wants to know about names in it: the others may be next. */
static void note_name(struct listing *l, const char *name, int flags, bool asks)
{
	const struct listing *example = l;
	enum type type;
	uint32_t at = 0, least;

	while (at < l->size && strcmp(l->names + at + 1, name))
		at += (uint32_t)strlen(l->names + at) + 1;
	if (at >= l->size)
		return;
	type = (enum type)(l->names[at] & TYPE);
	mark_done(l, at);
	now.flags[type] = flags;
	if (l->names[at] & BEEN)
		return;
	l->names[at] |= BEEN;
	if (++l->opened[type] == 2) {
		l->order = now.order = order_of(l, l->last[type], at);
		l->at = at;				/* go on from where the program is */
	}
	l->last[type] = at;
	if (now.learned[type] || l->opened[type] < 2)
		return;
	least = type == DIRECTORIES ? 2 * FIRST_WINDOW : FIRST_WINDOW;
	if (l->opened[type] == 2 && now.window[type] < least)
		now.window[type] = least;
	if (type == FILES)
		example = gone_through(type);
	if (!asks && example)
		now.learned[type] = example->age;
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
		slot->used = false;
		set_state(slot, LISTED);
	}
	unlock();
	opened->prefetched = 0;
	return result;
}

/* A directory's name may have slashes at its end. */
static const char *without_slashes(const char *path, char *plain, size_t size)
{
	size_t length = strlen(path), kept = length;

	while (kept > 1 && path[kept - 1] == '/')
		kept--;
	if (kept == length || kept >= size)
		return path;
	memcpy(plain, path, kept);
	plain[kept] = '\0';
	return plain;
}

int rc_walk_open(struct rc_location at, int flags, unsigned mode, uint64_t resolve, void *room, size_t room_size,
		 struct rc_opened *opened)
{
	struct rc_location named = at;
	struct listing *l;
	struct slot *slot = NULL;
	char plain[PATH + NAME_MAX + 1];
	const char *name;
	struct way way;
	uint32_t serial = 0;
	bool got = false, ready = true;

	opened->age_ms = 0;
	flags &= ~O_CLOEXEC;
	if (flags & (O_ACCMODE | O_PATH | O_CREAT | O_TRUNC | O_APPEND) || resolve || !*at.path || !prepare())
		return rc_call_open(at, flags, mode, resolve, room, room_size, opened);
	if (flags & O_DIRECTORY) {		/* which never blocks */
		named.path = without_slashes(at.path, plain, sizeof plain);
		flags &= ~O_NONBLOCK;
	}
	if (lock()) {
		now.used_ms = now_ms();
		if (now.used_ms - now.tidied_ms >= 100)
			tidy(false);
		l = parent_of(named, &name);
		slot = l ? find_slot(l->handle, name, flags) : NULL;
		if (!slot && flags & O_DIRECTORY && way_of(named, &way))
			slot = slot_of(&way, flags);
		serial = slot ? slot->serial : 0;
		if (l) {
			note_name(l, name, flags, false);
			ready = ask_ahead(l);
		}
		unlock();
	}
	if (!ready)
		take_line();
	if (slot && wait_for(slot) && lock()) {
		got = hand_out(slot, serial, room, room_size, opened);
		if (got && opened->kind == RC_KIND_DIRECTORY && way_of(named, &way))
			note_opened(opened->handle, &way);
		unlock();
	}
	if (!got) {
		int result = open_now(at, NULL, flags, room, room_size, opened);

		if (!result && opened->kind == RC_KIND_POSITIONED)
			rc_walk_asked(at);
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

/* Where questions about the names in a directory are written down; NULL: nowhere yet. */
static struct asked *find_asked(const struct way *way)
{
	for (unsigned i = 0; i < now.next_asked && i < ASKED_IN; i++) {
		struct asked *a = &walk->asked[i];

		if (same_way(&a->way, way) && (a->questions || a->asked_ms))
			return a;
	}
	return NULL;
}

static struct asked *asked_in(const struct way *way)
{
	struct asked *a = find_asked(way);

	if (a)
		return a;
	a = &walk->asked[now.next_asked % ASKED_IN];
	if (now.next_asked++ >= ASKED_IN && a->asked_ms && a->answered < QUESTIONS && now.trust)
		now.trust--;
	*a = (struct asked){ .way = *way };
	return a;
}

static struct slot *listed_slot(const struct way *way)
{
	struct listing *l = listing_at(way->from, way->path, way->length);

	for (int i = 0; l && i < now.slots; i++) {
		struct slot *slot = &walk->slots[i];

		if ((slot->state == LISTED || slot->state == THERE) && slot->opened.handle == l->handle && !too_old(slot))
			return slot;
	}
	return NULL;
}

static bool is_ascii(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)name[i] > 127)
			return false;
	return true;
}

/* Not those behind which another machine or a program is (".snapshot", short names): they don't say which files are immutable.
 * ZFS does, and hides one name. */
static bool lists_all(const struct rc_stat *directory, const char *name)
{
	return directory->attributes_mask & STATX_ATTR_IMMUTABLE && strcmp(name, ".zfs") != 0;
}

static int find_in(const struct slot *slot, const char *name, bool follow, unsigned mask, struct rc_stat *stat)
{
	size_t length = strlen(name);
	struct rc_entries entries;
	struct rc_entry entry;
	bool searchable = false, exact = is_ascii(name, length) && lists_all(&slot->opened.stat, name);

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

/* A way as the server takes it. */
static struct rc_location location_of(const struct way *way, char path[PATH + 1])
{
	memcpy(path, way->length ? way->path : ".", way->length ? way->length : 1);
	path[way->length ? way->length : 1] = '\0';
	return (struct rc_location){ way->from, path };
}

enum { LISTING_FLAGS = O_RDONLY | O_DIRECTORY };		/* as opendir's */

/* Asks for the listing of a directory, and for nothing else: its handle is closed again. */
static int list(const struct way *way)
{
	void *room = rc_sys_map(ROOM);
	char path[PATH + 1];
	struct rc_opened opened;
	int result;

	if (!room)
		return -ENOMEM;
	result = open_now(location_of(way, path), way, LISTING_FLAGS, room, ROOM, &opened);
	if (!result)
		rc_call_close(opened.handle);
	RC_SYS(SYS_munmap, room, ROOM, 0, 0, 0, 0);
	return result;
}

/* A program asks about names in a directory: its siblings may be next.  False: there is no line for them. */
static bool note_listing(const struct way *way)
{
	char path[PATH + 1];
	const char *name;
	struct listing *parent = way->length ? parent_of(location_of(way, path), &name) : NULL;

	if (parent)
		note_name(parent, name, LISTING_FLAGS, true);
	return !parent || ask_ahead(parent);
}

/* The directory part of a path and the name in it; false: nothing that listings could answer. */
static bool split(struct rc_location at, struct way *way, const char **name)
{
	const char *slash = strrchr(at.path, '/');

	*name = slash ? slash + 1 : at.path;
	way->from = at.directory;
	way->length = slash ? (uint32_t)(slash - at.path) : 0;
	if (!**name || !strcmp(*name, ".") || !strcmp(*name, "..") || strlen(*name) > NAME_MAX || way->length >= PATH ||
	    (!way->length && (slash || !at.directory)))
		return false;
	memcpy(way->path, at.path, way->length);
	return true;
}

/* The same of a way itself. */
static bool split_way(const struct way *way, struct way *above, char path[PATH + 1], const char **name)
{
	return way->length && split(location_of(way, path), above, name);
}

/* Whether a listing says that a directory of the path isn't there. */
static bool is_missing_above(const struct way *way, uint32_t *asked_ms)
{
	struct way above = *way, below;
	char path[PATH + 1];
	const char *name;
	struct slot *slot = NULL;
	struct rc_stat stat;

	while (!slot) {
		below = above;
		if (!split_way(&below, &above, path, &name))
			return false;
		slot = listed_slot(&above);
	}
	*asked_ms = (uint32_t)slot->asked_ms;
	return find_in(slot, name, false, 0, &stat) == -ENOENT;
}

/* Whether so many names of a directory have been asked about that its listing is worth asking for; true: it is now to be. */
static bool wants_listing(struct asked *a, const char *name)
{
	uint32_t hash = 2166136261;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619;
	if (a->questions && a->last == hash)
		return false;
	a->last = hash;
	if (++a->questions < (now.trust ? 1 : QUESTIONS) || (a->asked_ms && a->answered < QUESTIONS))
		return false;
	a->asked_ms = now_ms();
	a->answered = 0;
	return true;
}

/* What the listing of a directory says of a name, where there is one. */
static int ask_listing(const struct way *way, const char *name, bool follow, unsigned mask, struct rc_stat *stat,
		       uint32_t *asked_ms, bool *ready)
{
	struct slot *slot = listed_slot(way);
	struct asked *a;
	int result;

	if (!slot)
		return is_missing_above(way, asked_ms) ? -ENOENT : -EAGAIN;
	result = find_in(slot, name, follow, mask, stat);
	*asked_ms = (uint32_t)slot->asked_ms;
	if (slot->state == THERE && !slot->used) {
		struct listing *parent = listing_of(slot->parent);

		note_use(slot);
		*ready = !parent || ask_ahead(parent);
	}
	if (result != -EAGAIN && (a = find_asked(way)) && ++a->answered == QUESTIONS && now.trust < MOST_TRUST)
		now.trust++;
	return result;
}

int rc_walk_stat(struct rc_location at, bool follow, unsigned mask, struct rc_stat *stat, uint32_t *asked_ms)
{
	const char *name;
	struct way way;
	int result = -EAGAIN;
	bool again = true;

	if (!split(at, &way, &name) || !prepare())
		return -EAGAIN;
	for (int attempt = 0; again && attempt < 3 && result == -EAGAIN && lock(); attempt++) {
		bool ready = true, wanted = false;
		struct slot *coming = NULL;

		result = ask_listing(&way, name, follow, mask, stat, asked_ms, &ready);
		if (result == -EAGAIN && !listed_slot(&way)) {
			coming = slot_of(&way, ANY);
			wanted = !coming && !attempt && wants_listing(asked_in(&way), name);
			ready = !wanted || note_listing(&way);
		}
		again = wanted || coming;
		*asked_ms = again ? rc_cache_now() : *asked_ms;
		unlock();
		if (!ready)
			take_line();
		if (coming)
			wait_for(coming);
		else if (wanted)
			result = list(&way);
		if (result != -ENOENT && result != -ENOTDIR && again)
			result = -EAGAIN;		/* now the listing knows, or the server is asked */
	}
	if (result != -EAGAIN)
		rc_count(RC_COUNT_FROM_LISTING, 1);
	return result;
}

int rc_walk_missing(struct rc_location at, uint32_t *asked_ms)
{
	const char *name;
	struct way way;
	struct rc_stat stat;
	int result = -EAGAIN;

	if (!split(at, &way, &name) || !prepare())
		return 0;
	for (int attempt = 0; attempt < 2 && result == -EAGAIN && lock(); attempt++) {
		struct slot *coming;
		bool ready = true;

		result = ask_listing(&way, name, false, 0, &stat, asked_ms, &ready);
		coming = result == -EAGAIN ? slot_of(&way, ANY) : NULL;
		unlock();
		if (!ready)
			take_line();
		if (!coming || !wait_for(coming))
			break;
	}
	if (result == -ENOENT)
		rc_count(RC_COUNT_FROM_LISTING, 1);
	return result == -ENOENT ? result : 0;
}

/* Asks for the listing of a directory, and doesn't wait for it.  False: there is no line for that. */
static bool list_ahead(const struct way *way)
{
	struct rc_writer w = { .at = walk->frames, .end = walk->frames + sizeof walk->frames };
	struct slot *slot = now.line ? free_slot() : NULL;
	char path[PATH + 1];

	if (!slot)
		return now.line;
	slot->type = DIRECTORIES;
	slot->parent = 0;
	slot->flags = LISTING_FLAGS;
	slot->way = *way;
	slot->name[0] = '\0';
	put_open(&w, slot, &(struct way){ .from = way->from }, location_of(way, path).path);
	send_requests(&w);
	return true;
}

void rc_walk_asked(struct rc_location at)
{
	const char *name;
	struct way way;
	bool wanted = true, ready = false;

	if (!split(at, &way, &name) || !prepare())
		return;
	for (int attempt = 0; attempt < 2 && wanted && !ready && lock(); attempt++) {
		wanted = !listed_slot(&way) && !slot_of(&way, ANY) && (attempt || wants_listing(asked_in(&way), name));
		ready = !wanted || list_ahead(&way);
		unlock();
		if (!ready)
			take_line();
	}
}
