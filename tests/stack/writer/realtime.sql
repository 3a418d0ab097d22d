-- The service keeps a temporary logical slot open: as long as it is there, nobody can drop the database.
SET client_min_messages = warning;
-- Else every read from the slot would be worth ten lines of the server's log.
SET log_min_messages = fatal;
SELECT realtime.make_partition(current_date + n) FROM generate_series(0, 2) n;
SELECT slot_name FROM pg_create_logical_replication_slot('supabase_realtime_messages_replication_slot', 'pgoutput', true);
-- Read on as well, else the slot would hold back ever more WAL.
WITH written AS (
    INSERT INTO realtime.messages (topic, extension, payload, event)
    VALUES ('room:writer', 'broadcast', jsonb_build_object('at', clock_timestamp()), 'shout') RETURNING id
)
SELECT id, (SELECT count(*) FROM pg_logical_slot_get_binary_changes('supabase_realtime_messages_replication_slot', NULL, NULL,
    'proto_version', '1', 'publication_names', 'supabase_realtime_messages_publication'))
FROM written
\watch :interval
