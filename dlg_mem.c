/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dlg_mem.h"

#include "dlg_lock.h"
#include "host/host.h"

struct chunk;

/* What stands before every piece. */
struct head {
	struct chunk *chunk;
};

struct free_piece {
	struct free_piece *next;
};

struct chunk {
	struct chunk *next, **prev; /* in the class's list of chunks with room; prev NULL: full */
	struct free_piece *free;
	uint32_t used;              /* pieces handed out */
	uint32_t carved;            /* pieces ever cut from it */
	uint32_t class;             /* CLASSES: one big piece, `size` bytes */
	uint32_t home;              /* the class's first one, which stays for ever */
	size_t size;
	/* pieces follow */
};

struct class {
	struct dlg_lock lock;
	struct chunk *room;  /* chunks with a piece to give; never empty while idle */
	struct chunk *spare; /* all its pieces are back, but it was the only one with room */
	size_t chunks, pieces;
};

/* Sizes of pieces, their head included. */
static const uint16_t class_size[] = { 32,  48,	 64,  96,  128,	 160,  192,  224,  256,	 320,
				       384, 448, 512, 640, 768, 1024, 1536, 2048, 3072, 4096 };
enum { CLASSES = sizeof(class_size) / sizeof(class_size[0]) };

static struct pool {
	struct class class[CLASSES];
	struct dlg_lock big_lock;
	size_t big_pieces, big_bytes;
} *pool;

static size_t chunk_bytes(uint32_t class)
{
	return class_size[class] <= 512 ? 16384 : 32768;
}

static uint32_t chunk_capacity(uint32_t class)
{
	return (uint32_t)((chunk_bytes(class) - sizeof(struct chunk)) / class_size[class]);
}

static uint32_t class_for(size_t size)
{
	uint32_t c = 0;

	while (c < CLASSES && class_size[c] < size)
		c++;
	return c;
}

static void room_link(struct class *cl, struct chunk *ch)
{
	ch->next = cl->room;
	ch->prev = &cl->room;
	if (ch->next)
		ch->next->prev = &ch->next;
	cl->room = ch;
}

static void room_unlink(struct chunk *ch)
{
	*ch->prev = ch->next;
	if (ch->next)
		ch->next->prev = ch->prev;
	ch->next = NULL;
	ch->prev = NULL;
}

/* Class lock held. */
static struct chunk *chunk_new_locked(uint32_t class)
{
	struct chunk *ch = host_shm_alloc(chunk_bytes(class));

	if (!ch)
		return NULL;
	*ch = (struct chunk){ .class = class, .size = chunk_bytes(class) };
	room_link(&pool->class[class], ch);
	pool->class[class].chunks++;
	return ch;
}

static int class_init(uint32_t class)
{
	struct class *cl = &pool->class[class];

	memset(cl, 0, sizeof(*cl));
	if (dlg_lock_init(&cl->lock) < 0 || !chunk_new_locked(class))
		return -1;
	cl->room->home = 1;
	return 0;
}

int dlg_mem_init(void)
{
	pool = host_shm_alloc(sizeof(*pool));
	if (!pool || dlg_lock_init(&pool->big_lock) < 0)
		return -1;
	pool->big_pieces = 0;
	pool->big_bytes = 0;
	for (uint32_t c = 0; c < CLASSES; c++) {
		if (class_init(c) < 0)
			return -1;
	}
	return 0;
}

static void *cut_locked(struct class *cl, struct chunk *ch)
{
	struct head *head;

	if (ch->free) {
		head = (struct head *)ch->free - 1;
		ch->free = ch->free->next;
	} else {
		head = (struct head *)((char *)(ch + 1) +
				       (size_t)ch->carved++ * class_size[ch->class]);
	}
	head->chunk = ch;
	if (++ch->used == chunk_capacity(ch->class))
		room_unlink(ch);
	if (cl->spare == ch)
		cl->spare = NULL;
	cl->pieces++;
	return head + 1;
}

static void *class_alloc(uint32_t class)
{
	struct class *cl = &pool->class[class];
	struct chunk *ch;
	void *piece;

	dlg_lock_get(&cl->lock, DLG_LOCK_LEAF);
	ch = cl->room ? cl->room : chunk_new_locked(class);
	piece = ch ? cut_locked(cl, ch) : NULL;
	dlg_lock_put(&cl->lock, DLG_LOCK_LEAF);
	return piece;
}

static void big_count(size_t size, int sign)
{
	dlg_lock_get(&pool->big_lock, DLG_LOCK_LEAF);
	pool->big_pieces += (size_t)sign;
	pool->big_bytes += (size_t)sign * size;
	dlg_lock_put(&pool->big_lock, DLG_LOCK_LEAF);
}

static void *big_alloc(size_t size)
{
	struct chunk *ch = host_shm_alloc(sizeof(*ch) + size);
	struct head *head;

	if (!ch)
		return NULL;
	*ch = (struct chunk){ .class = CLASSES, .size = sizeof(*ch) + size, .used = 1 };
	head = (struct head *)(ch + 1);
	head->chunk = ch;
	big_count(ch->size, 1);
	return head + 1;
}

void *dlg_mem_alloc(size_t size)
{
	uint32_t class;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + sizeof(struct head) + 7) & ~(size_t)7;
	class = class_for(size);
	return class < CLASSES ? class_alloc(class) : big_alloc(size);
}

/* A piece came back to `ch`. Returns the chunk that is not needed any more, or NULL. An idle
 * class keeps exactly its home: hosts round the size of a block up to what they find, so another
 * one might not be as large. The spare goes when home is half empty, not at once: a load that
 * swings around a full home costs nothing. Class lock held. */
static struct chunk *surplus_locked(struct class *cl, struct chunk *ch)
{
	if (ch->home) {
		if (ch->used > chunk_capacity(ch->class) / 2)
			return NULL;
		ch = cl->spare;
		cl->spare = NULL;
		return ch;
	}
	if (ch->used)
		return NULL;
	if (cl->room != ch || ch->next)
		return ch;
	cl->spare = ch;
	return NULL;
}

/* Put a piece back. Returns the chunk when one is to be given to the host. Class lock held. */
static struct chunk *give_back_locked(struct class *cl, struct chunk *ch, void *piece)
{
	struct free_piece *f = piece;

	f->next = ch->free;
	ch->free = f;
	cl->pieces--;
	if (ch->used-- == chunk_capacity(ch->class))
		room_link(cl, ch);
	ch = surplus_locked(cl, ch);
	if (!ch)
		return NULL;
	room_unlink(ch);
	cl->chunks--;
	return ch;
}

static void class_free(struct chunk *ch, void *piece)
{
	struct class *cl = &pool->class[ch->class];

	dlg_lock_get(&cl->lock, DLG_LOCK_LEAF);
	ch = give_back_locked(cl, ch, piece);
	dlg_lock_put(&cl->lock, DLG_LOCK_LEAF);
	if (ch)
		host_shm_free(ch);
}

void dlg_mem_free(void *piece)
{
	struct chunk *ch;

	if (!piece)
		return;
	ch = ((struct head *)piece - 1)->chunk;
	if (ch->class < CLASSES) {
		class_free(ch, piece);
		return;
	}
	big_count(ch->size, -1);
	host_shm_free(ch);
}

static void class_info(uint32_t class, struct dlg_mem_info *out)
{
	struct class *cl = &pool->class[class];

	dlg_lock_get(&cl->lock, DLG_LOCK_LEAF);
	out->chunks += cl->chunks;
	out->chunk_bytes += cl->chunks * chunk_bytes(class);
	out->pieces += cl->pieces;
	out->piece_bytes += cl->pieces * class_size[class];
	dlg_lock_put(&cl->lock, DLG_LOCK_LEAF);
}

void dlg_mem_get_info(struct dlg_mem_info *out)
{
	*out = (struct dlg_mem_info){ 0 };
	for (uint32_t c = 0; c < CLASSES; c++)
		class_info(c, out);
	dlg_lock_get(&pool->big_lock, DLG_LOCK_LEAF);
	out->chunks += pool->big_pieces;
	out->chunk_bytes += pool->big_bytes;
	out->pieces += pool->big_pieces;
	out->piece_bytes += pool->big_bytes;
	dlg_lock_put(&pool->big_lock, DLG_LOCK_LEAF);
}
