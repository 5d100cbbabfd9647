/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Database URLs: what is taken apart is within bounds, what is printed holds no password, and
 * reads as the same URL again. */

#include "fuzz.h"
#include "../../db/db.h"

static void check_plain(const struct db_url *u)
{
	struct db_url again;
	const char *why;

	MUST(db_url_parse(u->plain, &again, &why) == 0);
	MUST(!strcmp(again.scheme, u->scheme) && !strcmp(again.user, u->user) &&
	     !strcmp(again.host, u->host) && !strcmp(again.database, u->database));
	MUST(again.port == u->port && again.timeout_ms == u->timeout_ms && !*again.password);
	db_url_free(&again);
}

/* The same URL with a telling password in the place of whatever stands there. */
static void check_password(const struct db_url *u, const char *text)
{
	static const char password[] = "q%5Aq7#q@q";
	const char *rest = text + (strstr(u->plain, "://") - u->plain) + 3;
	char *with = malloc(strlen(text) + sizeof(password) + 8);
	struct db_url again;
	const char *why;

	MUST(with != NULL);
	if (strstr(text, "q%5A") || strstr(text, "qZq7")) {
		free(with);
		return;
	}
	sprintf(with, "%s://u:%s@%s", u->scheme, password, rest);
	if (db_url_parse(with, &again, &why) == 0) {
		MUST(!strstr(again.plain, "q%5A") && !strstr(again.plain, "qZq7"));
		db_url_free(&again);
	} else {
		MUST(!strstr(why, "q%5A"));
	}
	free(with);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct db_url u;
	const char *why;

	MUST(text != NULL);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	if (db_url_parse(text, &u, &why) == 0) {
		MUST(*u.scheme && *u.database && u.port <= 65535 && u.timeout_ms >= 1000);
		MUST(strlen(u.plain) + strlen(u.password) <= strlen(text));
		check_plain(&u);
		check_password(&u, text);
		db_url_free(&u);
	} else {
		MUST(why && *why && !u.plain && !u.password);
	}
	free(text);
	return 0;
}
