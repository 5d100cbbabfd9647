/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UNIT_H
#define UNIT_H
/* What every Check program here needs: a list of tests, and views compared with texts. */

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../../dlg_str.h"

/* Run one test case. Returns the exit status of the program. */
static inline int unit_run_case(const char *name, TCase *tcase)
{
	Suite *suite = suite_create(name);
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

/* Add the tests of a list ended by NULL. */
static inline void unit_add(TCase *tcase, const TTest *const *tests)
{
	for (; *tests; tests++)
		tcase_add_test(tcase, *tests);
}

/* Run the tests (a list ended by NULL), each in a process of its own; `seconds` each may take. */
static inline int unit_run(const char *name, const TTest *const *tests, double seconds)
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, seconds);
	unit_add(tcase, tests);
	return unit_run_case(name, tcase);
}

#define UNIT_TESTS (const TTest *const[])

/* The view holds exactly this text. */
#define ck_assert_view(view, text)                                                             \
	do {                                                                                   \
		struct dlg_str ck_v = (view);                                                  \
		ck_assert_msg(dlg_str_eq(ck_v, dlg_str_of(text)), "\"%.*s\" is not \"%s\"",    \
			      DLG_STR_ARG(ck_v), (text));                                      \
	} while (0)

#endif
