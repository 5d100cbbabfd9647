/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIM_TRACK_H
#define SIM_TRACK_H
/* A module built on dlg_load.h, as another author would write it, that checks the contract of
 * the callbacks and calls back into the API at random. */

/* Register for DLGCB_CREATED. 0 or -1. Once, after the engine was started. */
int sim_track_start(void);

/* 0: callbacks only check; n: about one in n calls back into the API. */
extern unsigned sim_track_mischief;

/* Nonzero: several processes are simulated, whose callbacks may overtake each other. */
extern int sim_track_overtaking;

/* Give back one of the references the callbacks kept, if there is any. */
void sim_track_put_one(void);
/* Give back all. */
void sim_track_put_all(void);

/* All dialogs are gone: each must have been told so, exactly once. */
void sim_track_end(void);

#endif
