/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim_wrap.h"

#include "../../dlg_cb.h"
#include "../../dlg_db_image.h"
#include "../../dlg_hash.h"
#include "../../dlg_lock.h"
#include "../../dlg_mem.h"
#include "../../dlg_profile.h"
#include "sim_host.h"

void (*sim_interleave)(void);
void (*sim_freed)(void);
sim_point_fn *sim_point;
_Thread_local enum sim_hint sim_hint;
enum sim_plant sim_plant;
unsigned sim_plant_hits;

/* X(result, name, parameters): the function itself, and what the linker calls instead. */
#define WRAPPED(X)                                                                                 \
	X(void *, dlg_mem_alloc, (size_t size))                                                    \
	X(void, dlg_mem_free, (void *piece))                                                       \
	X(void, dlg_lock_get, (struct dlg_lock * lock, enum dlg_lock_kind kind))                   \
	X(void, dlg_lock_put, (struct dlg_lock * lock, enum dlg_lock_kind kind))                   \
	X(void, dlg_hash_hold, (struct dlg_cell * dlg, enum dlg_holder holder))                    \
	X(struct dlg_cell *, dlg_hash_get,                                                         \
	  (uint32_t h_entry, uint32_t h_id, enum dlg_holder holder))                               \
	X(void, dlg_hash_put_last,                                                                 \
	  (struct dlg_cell * dlg, enum dlg_holder holder, void (*last)(struct dlg_cell *)))        \
	X(void, dlg_hash_holders, (const struct dlg_cell *dlg, char *out, size_t size))            \
	X(unsigned, dlg_timer_tick, (void))                                                        \
	X(int, host_tx_refuse, (struct host_tx_id id, int code, const char *reason))               \
	X(int, host_send_within, (const struct host_request *req, void *token))                    \
	X(void, dlg_hash_put, (struct dlg_cell * dlg, enum dlg_holder holder))                     \
	X(void, dlg_hash_unlock, (const struct dlg_cell *dlg))                                     \
	X(int, dlg_hash_insert,                                                                    \
	  (const struct dlg_hash_new *in, enum dlg_holder holder, struct dlg_cell **out))          \
	X(int, dlg_hash_leg_add_locked,                                                            \
	  (struct dlg_cell * dlg, struct dlg_leg * leg, unsigned max))                             \
	X(struct dlg_leg *, dlg_hash_leg_locked, (const struct dlg_cell *dlg, struct dlg_str tag)) \
	X(void, dlg_timer_arm_locked, (struct dlg_cell * dlg, uint32_t deadline))                  \
	X(void, dlg_timer_disarm_locked, (struct dlg_cell * dlg))                                  \
	X(uint32_t, dlg_state_apply_locked, (struct dlg_cell * dlg, enum dlg_event event))         \
	X(void, dlg_state_count, (uint64_t * total))                                               \
	X(int, dlg_profile_join, (struct dlg_cell * dlg, int profile, struct dlg_str value))       \
	X(int, dlg_profile_join_limited,                                                           \
	  (struct dlg_cell * dlg, const struct dlg_profile_want *wants, unsigned n))               \
	X(int, dlg_profile_leave,                                                                  \
	  (struct dlg_cell * dlg, int profile, const struct dlg_str *value))                       \
	X(void, dlg_profile_leave_all_locked, (struct dlg_cell * dlg))                             \
	X(void, dlg_db_image_locked, (const struct dlg_cell *dlg, struct dlg_buf *out))            \
	X(void, dlg_cb_run, (struct dlg_cell * dlg, int type, const struct dlg_cb_params *params))

/* Weak, for programs that are linked without the wrapping. */
#define X(result, name, params)                            \
	result __real_##name params __attribute__((weak)); \
	result __wrap_##name params;
WRAPPED(X)
#undef X

int sim_wrapped(void)
{
	/* a call through the linker's hands; NULL only where nothing is wrapped */
	return __real_dlg_hash_put != NULL;
}

/* Does defect `p` strike here? Each third time, so that the rest of the call goes its way. */
static int strikes(enum sim_plant p)
{
	static unsigned n;

	if (sim_plant != p || n++ % 3)
		return 0;
	sim_plant_hits++;
	return 1;
}

/* ---- points for the scheduler ---- */

static _Thread_local int in_memory, in_wheel, in_tick, in_entry;
static const struct dlg_lock *our_shard; /* of the wheel */

static void at(enum sim_op op, const void *what)
{
	if (sim_point)
		sim_point(op, what);
	sim_hint = SIM_HINT_NONE;
}

static int is_ours(const struct dlg_lock *lock)
{
	return lock == __atomic_load_n(&our_shard, __ATOMIC_RELAXED);
}

/* Locks of memory classes are no points, nor are the wheel's shards no dialog is in. */
static void at_leaf(const struct dlg_lock *lock)
{
	if (in_wheel)
		__atomic_store_n(&our_shard, lock, __ATOMIC_RELAXED);
	if (in_memory || (in_tick && !in_entry && !is_ours(lock)))
		return;
	if (in_wheel)
		at(SIM_OP_WHEEL_INSIDE, lock);
	else if (in_entry)
		at(SIM_OP_COUNTERS_INSIDE, lock);
	else
		at(in_tick ? SIM_OP_WHEEL : SIM_OP_COUNTERS, lock);
}

void __wrap_dlg_lock_get(struct dlg_lock *lock, enum dlg_lock_kind kind)
{
	if (kind == DLG_LOCK_ENTRY)
		at(SIM_OP_ENTRY, lock);
	else if (kind == DLG_LOCK_ADMISSION)
		at(SIM_OP_ADMISSION, lock);
	else
		at_leaf(lock);
	__real_dlg_lock_get(lock, kind);
	if (kind == DLG_LOCK_ENTRY)
		in_entry = 1;
}

static void hold_late(struct dlg_cell *dlg, enum dlg_holder holder)
{
	uint32_t refs;

	sim_plant_hits++;
	sim_hint = SIM_HINT_LOOKS;
	dlg_hash_lock(dlg);
	refs = dlg->refs[holder];
	__real_dlg_hash_unlock(dlg);
	sim_hint = SIM_HINT_LOOKS;
	dlg_hash_lock(dlg);
	dlg->refs[holder] = refs + 1;
	__real_dlg_hash_unlock(dlg);
}

void __wrap_dlg_hash_hold(struct dlg_cell *dlg, enum dlg_holder holder)
{
	if (sim_plant == SIM_PLANT_REFERENCE_LOST) {
		hold_late(dlg, holder);
		return;
	}
	sim_hint = SIM_HINT_HOLD;
	__real_dlg_hash_hold(dlg, holder);
}

struct dlg_cell *__wrap_dlg_hash_get(uint32_t h_entry, uint32_t h_id, enum dlg_holder holder)
{
	sim_hint = SIM_HINT_GET;
	return __real_dlg_hash_get(h_entry, h_id, holder);
}

void __wrap_dlg_hash_put_last(struct dlg_cell *dlg, enum dlg_holder holder,
			      void (*last)(struct dlg_cell *))
{
	if (dlg)
		sim_hint = last ? SIM_HINT_LOOKS : SIM_HINT_PUT;
	__real_dlg_hash_put_last(dlg, holder, last);
}

void __wrap_dlg_hash_holders(const struct dlg_cell *dlg, char *out, size_t size)
{
	sim_hint = SIM_HINT_LOOKS;
	__real_dlg_hash_holders(dlg, out, size);
}

unsigned __wrap_dlg_timer_tick(void)
{
	unsigned n;

	in_tick = 1;
	n = __real_dlg_timer_tick();
	in_tick = 0;
	return n;
}

int __wrap_host_tx_refuse(struct host_tx_id id, int code, const char *reason)
{
	int ret;

	at(SIM_OP_TX, NULL);
	ret = __real_host_tx_refuse(id, code, reason);
	at(SIM_OP_TX_OVER, NULL);
	return ret;
}

int __wrap_host_send_within(const struct host_request *req, void *token)
{
	at(SIM_OP_SEND, NULL);
	return __real_host_send_within(req, token);
}

/* ---- failing allocations, planted defects ---- */

static int is_the_one(void)
{
	return sim_faults.mem_fail && !--sim_faults.mem_fail;
}

void *__wrap_dlg_mem_alloc(size_t size)
{
	void *piece;

	if (is_the_one() || sim_faults.mem_allow == 0 || sim_one_in(sim_faults.mem_one_in)) {
		sim_shm.failed++;
		return NULL;
	}
	if (sim_faults.mem_allow > 0)
		sim_faults.mem_allow--;
	in_memory = 1;
	piece = __real_dlg_mem_alloc(size);
	in_memory = 0;
	return piece;
}

void __wrap_dlg_db_image_locked(const struct dlg_cell *dlg, struct dlg_buf *out)
{
	if (sim_faults.images_fail)
		out->failed = 1;
	else
		__real_dlg_db_image_locked(dlg, out);
}

void __wrap_dlg_mem_free(void *piece)
{
	if (piece && strikes(SIM_PLANT_PIECE_LEAKED))
		return;
	in_memory = 1;
	__real_dlg_mem_free(piece);
	in_memory = 0;
	if (sim_freed)
		sim_freed();
}

void __wrap_dlg_lock_put(struct dlg_lock *lock, enum dlg_lock_kind kind)
{
	void (*other)(void) = sim_interleave;

	if (kind == DLG_LOCK_ENTRY)
		in_entry = 0;
	__real_dlg_lock_put(lock, kind);
	if (kind == DLG_LOCK_ADMISSION)
		at(SIM_OP_ADMISSION_OVER, lock);
	if (!other || dlg_lock_held())
		return;
	sim_interleave = NULL;
	other();
	sim_interleave = other;
}

void __wrap_dlg_hash_put(struct dlg_cell *dlg, enum dlg_holder holder)
{
	if (dlg && strikes(SIM_PLANT_REFERENCE_LEAKED))
		return;
	if (dlg && strikes(SIM_PLANT_REFERENCE_TWICE))
		__real_dlg_hash_put(dlg, holder);
	if (dlg)
		sim_hint = SIM_HINT_PUT;
	__real_dlg_hash_put(dlg, holder);
}

void __wrap_dlg_hash_unlock(const struct dlg_cell *dlg)
{
	if (strikes(SIM_PLANT_LOCK_NOT_RELEASED))
		return;
	__real_dlg_hash_unlock(dlg);
}

int __wrap_dlg_hash_insert(const struct dlg_hash_new *in, enum dlg_holder holder,
			   struct dlg_cell **out)
{
	int ret = __real_dlg_hash_insert(in, holder, out);

	return ret == 1 && strikes(SIM_PLANT_HALF_CREATED) ? -1 : ret;
}

int __wrap_dlg_hash_leg_add_locked(struct dlg_cell *dlg, struct dlg_leg *leg, unsigned max)
{
	if (strikes(SIM_PLANT_LOG_UNDER_LOCK))
		HOST_LOG(HOST_INFO, "planted");
	return __real_dlg_hash_leg_add_locked(dlg, leg, max);
}

struct dlg_leg *__wrap_dlg_hash_leg_locked(const struct dlg_cell *dlg, struct dlg_str tag)
{
	struct dlg_leg *leg = __real_dlg_hash_leg_locked(dlg, tag);

	if (leg || !dlg->legs || !strikes(SIM_PLANT_TAG_NOT_CHECKED))
		return leg;
	return dlg->legs;
}

void __wrap_dlg_timer_arm_locked(struct dlg_cell *dlg, uint32_t deadline)
{
	/* cppcheck-suppress ctunullpointer ; it follows the call through the linker's names */
	if (dlg->state == DLG_STATE_UNCONFIRMED && strikes(SIM_PLANT_TIMER_NOT_ARMED))
		return;
	if (strikes(SIM_PLANT_TIMER_TOO_LATE))
		deadline += 3600;
	in_wheel = 1;
	__real_dlg_timer_arm_locked(dlg, deadline);
	in_wheel = 0;
}

void __wrap_dlg_timer_disarm_locked(struct dlg_cell *dlg)
{
	if (strikes(SIM_PLANT_TIMER_NOT_DISARMED))
		return;
	in_wheel = 1;
	__real_dlg_timer_disarm_locked(dlg);
	in_wheel = 0;
}

/* Count on behalf of a dialog without asking whether it moved. */
static void plant_counters(void)
{
	struct dlg_counters *n = dlg_state_counters();

	if (strikes(SIM_PLANT_GAUGE_TWICE))
		n->gauge[DLG_STATE_EARLY]++;
	if (strikes(SIM_PLANT_TOTAL_BACK))
		n->processed--;
}

static void plant_second_lock(void)
{
	static struct dlg_lock other;

	if (!strikes(SIM_PLANT_TWO_LOCKS))
		return;
	dlg_lock_init(&other);
	dlg_lock_get(&other, DLG_LOCK_ENTRY);
	__real_dlg_lock_put(&other, DLG_LOCK_ENTRY);
}

uint32_t __wrap_dlg_state_apply_locked(struct dlg_cell *dlg, enum dlg_event event)
{
	struct dlg_counters *n = dlg_state_counters();
	uint32_t actions;

	/* cppcheck-suppress ctunullpointer ; as above */
	if (dlg->state == DLG_STATE_DELETED && event != DLG_EV_TIMEOUT &&
	    strikes(SIM_PLANT_REVIVED)) {
		n->gauge[DLG_STATE_DELETED]--;
		n->gauge[DLG_STATE_CONFIRMED]++;
		dlg->state = DLG_STATE_CONFIRMED;
	}
	plant_second_lock();
	actions = __real_dlg_state_apply_locked(dlg, event);
	plant_counters();
	return actions;
}

void __wrap_dlg_state_count(uint64_t *total)
{
	const uint64_t *ended = dlg_state_counters()->ended;

	if (total >= ended && total < ended + DLG_REASON_N && strikes(SIM_PLANT_REASON_MISSED))
		return;
	__real_dlg_state_count(total);
}

/* ---- profiles ---- */

/* Make the newest membership vanish without anybody being told: the first thing in it is the
 * next one. */
static void lose_newest(struct dlg_cell *dlg)
{
	struct dlg_member *newest;

	dlg_hash_lock(dlg);
	newest = dlg->members;
	memcpy(&dlg->members, (const void *)newest, sizeof(newest));
	dlg->n_members--;
	__real_dlg_hash_unlock(dlg);
	__real_dlg_mem_free(newest);
}

/* What was seen before decides, whatever has become of the call. All in one step. */
static int join_as_seen(struct dlg_cell *dlg, int profile, struct dlg_str value)
{
	uint8_t seen, state;
	sim_point_fn *hook;
	int ret;

	sim_plant_hits++;
	dlg_hash_lock(dlg);
	seen = dlg->state;
	__real_dlg_hash_unlock(dlg);
	at(SIM_OP_ENTRY, NULL);
	hook = sim_point;
	sim_point = NULL;
	state = dlg->state;
	dlg->state = seen;
	ret = __real_dlg_profile_join(dlg, profile, value);
	dlg->state = state;
	sim_point = hook;
	return ret;
}

int __wrap_dlg_profile_join(struct dlg_cell *dlg, int profile, struct dlg_str value)
{
	int ret;

	if (sim_plant == SIM_PLANT_ENDED_JOINS)
		return join_as_seen(dlg, profile, value);
	ret = __real_dlg_profile_join(dlg, profile, value);
	if (ret == 0 && strikes(SIM_PLANT_COUNTED_TWICE) &&
	    __real_dlg_profile_join(dlg, profile, value) == 0)
		lose_newest(dlg);
	return ret;
}

int __wrap_dlg_profile_leave(struct dlg_cell *dlg, int profile, const struct dlg_str *value)
{
	int ret = __real_dlg_profile_leave(dlg, profile, value);

	if (ret == 1 && dlg_profile_memberships(dlg, profile, value) &&
	    strikes(SIM_PLANT_LEFT_TWICE))
		lose_newest(dlg);
	return ret;
}

void __wrap_dlg_profile_leave_all_locked(struct dlg_cell *dlg)
{
	if (dlg->members && strikes(SIM_PLANT_MEMBERSHIP_KEPT))
		return;
	__real_dlg_profile_leave_all_locked(dlg);
}

static int has_room(const struct dlg_profile_want *want)
{
	return dlg_profile_size(want->profile, want->has_value ? &want->value : NULL) < want->limit;
}

static int joins(const struct dlg_profile_want *want)
{
	return want->has_value || !dlg_profile_has_values(want->profile);
}

/* One who looks, is kept from running for a while, and believes what it saw. */
static int join_too_late(struct dlg_cell *dlg, const struct dlg_profile_want *wants, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (!has_room(&wants[i]))
			return 0;
	}
	for (int i = 0; i < 1000; i++)
		dlg_profile_memberships(dlg, 0, NULL); /* a lock is given back: others' turn */
	for (unsigned i = 0; i < n; i++) {
		if (joins(&wants[i]))
			__real_dlg_profile_join(dlg, wants[i].profile, wants[i].value);
	}
	return 1;
}

int __wrap_dlg_profile_join_limited(struct dlg_cell *dlg, const struct dlg_profile_want *wants,
				    unsigned n)
{
	/* histories join nothing twice in so short a list */
	if (n <= 3 && sim_interleave && strikes(SIM_PLANT_LIMIT_TOO_LATE))
		return join_too_late(dlg, wants, n);
	return __real_dlg_profile_join_limited(dlg, wants, n);
}

void __wrap_dlg_cb_run(struct dlg_cell *dlg, int type, const struct dlg_cb_params *params)
{
	at(SIM_OP_CALLBACK, &type);
	if (type == DLGCB_TERMINATED && strikes(SIM_PLANT_CALLBACK_MISSED))
		return;
	if (type == DLGCB_CONFIRMED && strikes(SIM_PLANT_CALLBACK_TWICE))
		__real_dlg_cb_run(dlg, type, params);
	if (type != DLGCB_DESTROY && strikes(SIM_PLANT_CALLBACK_UNDER_LOCK)) {
		dlg_hash_lock(dlg);
		__real_dlg_cb_run(dlg, type, params);
		__real_dlg_hash_unlock(dlg);
		return;
	}
	__real_dlg_cb_run(dlg, type, params);
}
