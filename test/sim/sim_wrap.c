/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim_wrap.h"

#include "../../dlg_cb.h"
#include "../../dlg_hash.h"
#include "../../dlg_lock.h"
#include "../../dlg_mem.h"
#include "../../dlg_profile.h"
#include "sim_host.h"

void (*sim_interleave)(void);
enum sim_plant sim_plant;
unsigned sim_plant_hits;

/* X(result, name, parameters): the function itself, and what the linker calls instead. */
#define WRAPPED(X)                                                                                 \
	X(void *, dlg_mem_alloc, (size_t size))                                                    \
	X(void, dlg_mem_free, (void *piece))                                                       \
	X(void, dlg_lock_put, (struct dlg_lock * lock, enum dlg_lock_kind kind))                   \
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

void *__wrap_dlg_mem_alloc(size_t size)
{
	if (sim_faults.mem_allow == 0 || sim_one_in(sim_faults.mem_one_in)) {
		sim_shm.failed++;
		return NULL;
	}
	if (sim_faults.mem_allow > 0)
		sim_faults.mem_allow--;
	return __real_dlg_mem_alloc(size);
}

void __wrap_dlg_mem_free(void *piece)
{
	if (piece && strikes(SIM_PLANT_PIECE_LEAKED))
		return;
	__real_dlg_mem_free(piece);
}

void __wrap_dlg_lock_put(struct dlg_lock *lock, enum dlg_lock_kind kind)
{
	void (*other)(void) = sim_interleave;

	__real_dlg_lock_put(lock, kind);
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
	__real_dlg_timer_arm_locked(dlg, deadline);
}

void __wrap_dlg_timer_disarm_locked(struct dlg_cell *dlg)
{
	if (!strikes(SIM_PLANT_TIMER_NOT_DISARMED))
		__real_dlg_timer_disarm_locked(dlg);
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

int __wrap_dlg_profile_join(struct dlg_cell *dlg, int profile, struct dlg_str value)
{
	int ret = __real_dlg_profile_join(dlg, profile, value);

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
