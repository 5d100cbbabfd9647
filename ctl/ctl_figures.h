/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CTL_FIGURES_H
#define CTL_FIGURES_H
/* Numbers of the proxy, read for several commands. */

enum { CTL_FIGURES_MAX = 128 };

struct ctl_figures {
	struct {
		char name[48];
		long long value;
	} item[CTL_FIGURES_MAX];
	unsigned n;
};

/* Read dlg_stats. As ctl_call(). */
int ctl_read_figures(struct ctl_figures *out);

/* The figure of that name, 0 when there is none. */
long long ctl_figure(const struct ctl_figures *f, const char *name);

/* Read dlg_profiles: `profile` for each, `value` (may be NULL) for its `top` most frequent values,
 * right after it. As ctl_call(). */
typedef void ctl_profile_fn(const char *name, int with_value, long long count, long long values,
			    void *arg);
typedef void ctl_count_fn(const char *value, long long count, void *arg);
int ctl_read_profiles(unsigned top, ctl_profile_fn *profile, ctl_count_fn *value, void *arg);

#endif
