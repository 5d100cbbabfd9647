CREATE TABLE IF NOT EXISTS version (
	table_name VARCHAR(64) NOT NULL PRIMARY KEY,
	table_version INTEGER NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE IF NOT EXISTS `dialog` (
	`node` VARCHAR(64) NOT NULL,
	`hash_entry` BIGINT NOT NULL,
	`hash_id` BIGINT NOT NULL,
	`callid` MEDIUMTEXT,
	`from_uri` MEDIUMTEXT,
	`from_tag` MEDIUMTEXT,
	`to_uri` MEDIUMTEXT,
	`to_tag` MEDIUMTEXT,
	`caller_cseq` BIGINT,
	`callee_cseq` BIGINT,
	`caller_route_set` MEDIUMTEXT,
	`callee_route_set` MEDIUMTEXT,
	`from_contact` MEDIUMTEXT,
	`callee_contact` MEDIUMTEXT,
	`caller_sock` MEDIUMTEXT,
	`callee_sock` MEDIUMTEXT,
	`state` BIGINT,
	`start_time` BIGINT,
	`timeout` BIGINT,
	`vars` MEDIUMTEXT,
	`profiles` MEDIUMTEXT,
	`script_flags` BIGINT,
	`dlg_flags` BIGINT,
	`lifetime` BIGINT,
	`legs` MEDIUMTEXT,
	PRIMARY KEY (`node`,`hash_entry`,`hash_id`),
	KEY `dialog_callid` (`callid`(191))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO version (table_name, table_version)
	SELECT 'dialog', 1001 FROM DUAL
	WHERE NOT EXISTS (SELECT 1 FROM version WHERE table_name = 'dialog');
