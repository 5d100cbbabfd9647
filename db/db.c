/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "db.h"

#include <ctype.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TIMEOUT_S = 5, TIMEOUT_MAX_S = 3600 };

/* ---- URLs ---- */

static int hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A private copy with %XX decoded; NULL for a bad escape, a NUL byte, or without memory. */
static char *decode(struct dlg_str v)
{
	char *out = malloc(v.len + 1), *to = out;

	for (size_t i = 0; out && i < v.len; i++) {
		int hi, lo;

		if (v.s[i] != '%') {
			*to++ = v.s[i];
			continue;
		}
		hi = i + 2 < v.len ? hex_digit((unsigned char)v.s[i + 1]) : -1;
		lo = i + 2 < v.len ? hex_digit((unsigned char)v.s[i + 2]) : -1;
		if (hi < 0 || lo < 0 || !(hi | lo)) {
			free(out);
			return NULL;
		}
		*to++ = (char)(hi << 4 | lo);
		i += 2;
	}
	if (out)
		*to = '\0';
	return out;
}

/* What comes before the first `c`, cut off with it; the whole when there is none. */
static struct dlg_str cut(struct dlg_str *rest, char c)
{
	const char *at = rest->len ? memchr(rest->s, c, rest->len) : NULL;
	struct dlg_str part = *rest;

	if (!at) {
		rest->s = rest->len ? rest->s + rest->len : rest->s;
		rest->len = 0;
		return part;
	}
	part.len = (size_t)(at - part.s);
	*rest = (struct dlg_str){ at + 1, rest->len - part.len - 1 };
	return part;
}

static int parse_scheme(struct dlg_str *rest, struct db_url *out)
{
	struct dlg_str scheme = cut(rest, ':');

	if (!scheme.len || scheme.len >= sizeof(out->scheme) || rest->len < 2 ||
	    memcmp(rest->s, "//", 2))
		return -1;
	for (size_t i = 0; i < scheme.len; i++) {
		if (!isalnum((unsigned char)scheme.s[i]))
			return -1;
		out->scheme[i] = (char)tolower((unsigned char)scheme.s[i]);
	}
	*rest = (struct dlg_str){ rest->s + 2, rest->len - 2 };
	return 0;
}

/* "timeout=SECONDS", the only option. */
static int parse_options(struct dlg_str options, struct db_url *out)
{
	uint64_t seconds;

	while (options.len) {
		struct dlg_str one = cut(&options, '&'), name = cut(&one, '=');

		if (!dlg_str_eq(name, DLG_STR("timeout")) ||
		    dlg_str_to_u64(one, TIMEOUT_MAX_S, &seconds) < 0 || !seconds)
			return -1;
		out->timeout_ms = (unsigned)seconds * 1000;
	}
	return 0;
}

/* The last '@' ends user and password: a password may hold one that nobody encoded. */
static struct dlg_str cut_user(struct dlg_str *authority)
{
	struct dlg_str user = DLG_STR_NONE;

	for (size_t i = authority->len; i-- > 0;) {
		if (authority->s[i] != '@')
			continue;
		user = (struct dlg_str){ authority->s, i };
		*authority = (struct dlg_str){ authority->s + i + 1, authority->len - i - 1 };
		break;
	}
	return user;
}

/* "host", "host:port", "[::1]:port". 0 or -1. */
static int cut_host(struct dlg_str authority, struct dlg_str *host, struct db_url *out)
{
	uint64_t port;

	if (authority.len && authority.s[0] == '[') {
		authority = (struct dlg_str){ authority.s + 1, authority.len - 1 };
		if (!memchr(authority.s, ']', authority.len))
			return -1;
		*host = cut(&authority, ']');
		if (authority.len && *authority.s != ':')
			return -1;
		authority.s += authority.len != 0;
		authority.len -= authority.len != 0;
	} else {
		*host = cut(&authority, ':');
	}
	if (!authority.len)
		return 0;
	if (dlg_str_to_u64(authority, 65535, &port) < 0 || !port)
		return -1;
	out->port = (unsigned)port;
	return 0;
}

/* For log lines: as it is written, but without the password. */
static char *without_password(const char *text, struct dlg_str user, struct dlg_str rest)
{
	size_t head = strlen(text) - rest.len;
	struct dlg_str name = cut(&user, ':');
	size_t before = name.s ? (size_t)(name.s - text) + name.len : head;
	char *out = malloc(strlen(text) + 2);

	if (out)
		sprintf(out, "%.*s%s%.*s", (int)before, text, name.s ? "@" : "", (int)rest.len,
			rest.s);
	return out;
}

static int fill(struct db_url *out, struct dlg_str user, struct dlg_str host,
		struct dlg_str database)
{
	struct dlg_str name = cut(&user, ':');

	out->user = decode(name);
	out->password = decode(user);
	out->host = decode(host);
	out->database = decode(database);
	return out->user && out->password && out->host && out->database && out->plain ? 0 : -1;
}

static int has_controls(const char *text)
{
	while (*text && (unsigned char)*text >= ' ' && *text != 127)
		text++;
	return *text != '\0';
}

/* What follows the host: one name, or with no host perhaps a path. An @ there is what a password
 * with a slash leaves, and is not to be taken, and printed, for a name. */
static const char *check_database(struct dlg_str database, int has_host)
{
	if (!database.len)
		return "it names no database: scheme://host/database is wanted";
	if (has_host &&
	    (memchr(database.s, '@', database.len) || memchr(database.s, '/', database.len)))
		return "behind the host comes the name of one database; / and @ in a password or a "
		       "name "
		       "are written %2F and %40";
	return NULL;
}

static const char *parse(const char *text, struct db_url *out)
{
	struct dlg_str rest = dlg_str_of(text), authority, user, host, after;
	const char *wrong;

	if (!text || parse_scheme(&rest, out) < 0)
		return "it does not begin with scheme://";
	if (has_controls(text))
		return "it has control characters";
	authority = cut(&rest, '/');
	user = cut_user(&authority);
	if (cut_host(authority, &host, out) < 0)
		return "host or port are malformed";
	after = dlg_str_of(authority.s);
	out->plain = without_password(text, user, after);
	authority = cut(&rest, '?');
	wrong = check_database(authority, user.len || host.len);
	if (wrong)
		return wrong;
	if (parse_options(rest, out) < 0)
		return "the only option is timeout=SECONDS, from 1 to 3600";
	return fill(out, user, host, authority) < 0 ? "a %XX in it is malformed" : NULL;
}

int db_url_parse(const char *text, struct db_url *out, const char **why)
{
	*out = (struct db_url){ .timeout_ms = TIMEOUT_S * 1000 };
	*why = parse(text, out);
	if (!*why)
		return 0;
	db_url_free(out);
	return -1;
}

void db_url_free(struct db_url *url)
{
	if (url->password)
		explicit_bzero(url->password, strlen(url->password));
	free(url->user);
	free(url->password);
	free(url->host);
	free(url->database);
	free(url->plain);
	*url = (struct db_url){ 0 };
}

/* ---- names ---- */

static int name_ok(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)name[i]) && name[i] != '_')
			return 0;
	}
	return n > 0 && n <= DB_NAME_MAX;
}

const char *db_table_check(const struct db_table *t)
{
	if (!name_ok(t->name))
		return t->name;
	for (unsigned i = 0; i < t->n_columns; i++) {
		if (!name_ok(t->column[i].name))
			return t->column[i].name;
	}
	return NULL;
}

/* ---- drivers ---- */

static const struct {
	const char *scheme, *driver, *package;
} known[] = {
	{ "mysql", "mysql", "libmariadb3" },
	{ "postgres", "postgres", "libpq5" },
	{ "postgresql", "postgres", "libpq5" },
	{ "sqlite", "sqlite", "libsqlite3-0" },
};

enum { REGISTERED_MAX = 4 };
static const struct db_driver *registered[REGISTERED_MAX];
static unsigned n_registered;

void db_driver_register(const struct db_driver *driver)
{
	if (n_registered < REGISTERED_MAX)
		registered[n_registered++] = driver;
}

/* Is the scheme one word of the list? */
static int serves(const struct db_driver *d, const char *scheme)
{
	struct dlg_str list = dlg_str_of(d->schemes);

	while (list.len) {
		if (dlg_str_eq(cut(&list, ' '), dlg_str_of(scheme)))
			return 1;
	}
	return 0;
}

static const struct db_driver *open_driver(const char *path, const char *package, char *why,
					   size_t size)
{
	void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const struct db_driver *d = so ? dlsym(so, "db_driver") : NULL;

	if (access(path, F_OK) < 0)
		snprintf(why, size, "%s is not there", path);
	else if (!so)
		snprintf(why, size, "%s cannot be loaded (%s); its library is in the package %s",
			 path, dlerror(), package);
	else if (!d || d->abi != DB_DRIVER_ABI || d->size != sizeof(*d))
		snprintf(why, size, "%s is of another version of this module", path);
	else
		return d;
	return NULL;
}

const struct db_driver *db_driver_load(const char *directory, const char *scheme, char *why,
				       size_t size)
{
	char path[PATH_MAX];

	for (unsigned i = 0; i < n_registered; i++) {
		if (serves(registered[i], scheme))
			return registered[i];
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(known[i].scheme, scheme))
			continue;
		snprintf(path, sizeof(path), "%s/dialog_db_%s.so", directory, known[i].driver);
		return open_driver(path, known[i].package, why, size);
	}
	snprintf(why, size,
		 "the scheme \"%s\" is not known: there are mysql, postgres, postgresql and "
		 "sqlite",
		 scheme);
	return NULL;
}

/* ---- is the table fit for us ---- */

struct seen {
	const struct db_table *t;
	unsigned char there[DB_COLUMNS_MAX];
	unsigned any;
};

static int see_column(const struct db_value *v, void *arg)
{
	struct seen *s = arg;

	s->any = 1;
	for (unsigned i = 0; i < s->t->n_columns; i++) {
		if (dlg_str_eq_nocase(v->text, dlg_str_of(s->t->column[i].name)))
			s->there[i] = 1;
	}
	return 0;
}

static int columns_ready(const struct seen *s, char *why, size_t size)
{
	int len = snprintf(why, size, "the table \"%s\" lacks columns:", s->t->name), ready = 1;

	for (unsigned i = 0; i < s->t->n_columns; i++) {
		if (s->there[i])
			continue;
		if (len >= 0 && (size_t)len < size)
			len += snprintf(why + len, size - (size_t)len, "%s \"%s\"",
					ready ? "" : ",", s->t->column[i].name);
		ready = 0;
	}
	return ready;
}

static int version_ready(const struct db_table *t, unsigned version, char *why, size_t size)
{
	if (version == t->version)
		return 1;
	if (version)
		snprintf(why, size, "the table \"%s\" has version %u, and this module needs %u",
			 t->name, version, t->version);
	else
		snprintf(
			why, size,
			"the table \"version\" has no row for \"%s\", which should have version %u",
			t->name, t->version);
	return 0;
}

static int key_ready(const struct db_driver *driver, struct db_conn *conn, const struct db_table *t,
		     char *why, size_t size)
{
	int keyed, len;

	if (driver->keyed(conn, t, &keyed) != DB_OK) {
		snprintf(why, size, "%s", driver->error(conn));
		return -1;
	}
	if (keyed)
		return 1;
	len = snprintf(why, size, "the table \"%s\" has no unique key of", t->name);
	for (unsigned i = 0; i < t->n_keys && len >= 0 && (size_t)len < size; i++)
		len += snprintf(why + len, size - (size_t)len, "%s \"%s\"", i ? "," : "",
				t->column[i].name);
	return 0;
}

int db_table_ready(const struct db_driver *driver, struct db_conn *conn, const struct db_table *t,
		   char *why, size_t size)
{
	struct seen s = { .t = t };
	unsigned version;

	if (driver->columns(conn, t->name, see_column, &s) != DB_OK ||
	    driver->version(conn, t->name, &version) != DB_OK) {
		snprintf(why, size, "%s", driver->error(conn));
		return -1;
	}
	if (!s.any) {
		snprintf(why, size, "there is no table \"%s\"", t->name);
		return 0;
	}
	if (!version_ready(t, version, why, size) || !columns_ready(&s, why, size))
		return 0;
	return key_ready(driver, conn, t, why, size);
}
