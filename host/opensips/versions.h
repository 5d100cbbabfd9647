/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef OPENSIPS_VERSIONS_H
#define OPENSIPS_VERSIONS_H
/* What differs between OpenSIPS 3.6 and 4.0. */

/* 4.0 keeps the branches of a transaction in chunks, and names the macro that finds one. */
#ifndef TM_BRANCH
#define TM_BRANCH(t, i) ((t)->uac[i])
#endif

#endif
