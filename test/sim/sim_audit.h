/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIM_AUDIT_H
#define SIM_AUDIT_H
/* The invariants of the engine (design, section 4), checked from outside after each step of a
 * simulation. What is broken is recorded with sim_violation(). */

#include "sim_host.h"

/* Profiles that some simulations have: whoever joins does so with that limit, of each value or of
 * the profile; SIM_BOUNDED has a limit for the whole profile besides. */
#define SIM_LIMITED "limited"
#define SIM_GATE    "gate"
#define SIM_BOUNDED "bounded"
enum { SIM_LIMIT = 2, SIM_BOUND = 3 };

/* References the test itself holds through the API of other modules. */
extern unsigned sim_audit_api_refs;

/* Take the present totals and memory as the start value. The table must be empty. */
void sim_audit_begin(void);

/* Between two steps: no lock is held, gauges equal the table, every dialog has a timer and
 * nothing else has, every reference belongs to somebody the simulation knows, totals only grow,
 * every dialog that began is there or has its reason for the end counted, no dialog is overdue,
 * memberships equal the counters of profiles, no limit is exceeded. */
void sim_audit(void);

/* After everything is over: table empty, wheel empty, gauges zero, profiles empty, memory back at
 * its start value. */
void sim_audit_end(void);

/* A fingerprint of everything that a request could change in the table: states, deadlines,
 * CSeqs, contacts, flags, legs, memberships. Equal before and after a request that changed
 * nothing. */
uint64_t sim_audit_fingerprint(void);

#endif
