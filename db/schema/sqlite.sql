CREATE TABLE IF NOT EXISTS version (
	table_name VARCHAR(64) NOT NULL PRIMARY KEY,
	table_version INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS "dialog" (
	"node" TEXT NOT NULL,
	"hash_entry" INTEGER NOT NULL,
	"hash_id" INTEGER NOT NULL,
	"callid" TEXT,
	"from_uri" TEXT,
	"from_tag" TEXT,
	"to_uri" TEXT,
	"to_tag" TEXT,
	"caller_cseq" INTEGER,
	"callee_cseq" INTEGER,
	"caller_route_set" TEXT,
	"callee_route_set" TEXT,
	"from_contact" TEXT,
	"callee_contact" TEXT,
	"caller_sock" TEXT,
	"callee_sock" TEXT,
	"state" INTEGER,
	"start_time" INTEGER,
	"timeout" INTEGER,
	"vars" TEXT,
	"profiles" TEXT,
	"script_flags" INTEGER,
	"dlg_flags" INTEGER,
	"lifetime" INTEGER,
	"legs" TEXT,
	PRIMARY KEY ("node","hash_entry","hash_id")
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS "dialog_callid" ON "dialog" ("callid");
INSERT INTO version (table_name, table_version)
	SELECT 'dialog', 1001
	WHERE NOT EXISTS (SELECT 1 FROM version WHERE table_name = 'dialog');
