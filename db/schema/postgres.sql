CREATE TABLE IF NOT EXISTS version (
	table_name VARCHAR(64) NOT NULL PRIMARY KEY,
	table_version INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS "dialog" (
	"node" VARCHAR(64) NOT NULL,
	"hash_entry" BIGINT NOT NULL,
	"hash_id" BIGINT NOT NULL,
	"callid" TEXT,
	"from_uri" TEXT,
	"from_tag" TEXT,
	"to_uri" TEXT,
	"to_tag" TEXT,
	"caller_cseq" BIGINT,
	"callee_cseq" BIGINT,
	"caller_route_set" TEXT,
	"callee_route_set" TEXT,
	"from_contact" TEXT,
	"callee_contact" TEXT,
	"caller_sock" TEXT,
	"callee_sock" TEXT,
	"state" BIGINT,
	"start_time" BIGINT,
	"timeout" BIGINT,
	"vars" TEXT,
	"profiles" TEXT,
	"script_flags" BIGINT,
	"dlg_flags" BIGINT,
	"lifetime" BIGINT,
	"legs" TEXT,
	PRIMARY KEY ("node","hash_entry","hash_id")
);
CREATE INDEX IF NOT EXISTS "dialog_callid" ON "dialog" USING hash ("callid");
INSERT INTO version (table_name, table_version)
	SELECT 'dialog', 1001
	WHERE NOT EXISTS (SELECT 1 FROM version WHERE table_name = 'dialog');
