-- What the realtime service makes: it logs in as supabase_admin and hands the tables to supabase_realtime_admin.
CREATE TABLE realtime.messages (
    topic text NOT NULL,
    extension text NOT NULL,
    payload jsonb,
    event text,
    private boolean DEFAULT false,
    updated_at timestamp NOT NULL DEFAULT now(),
    inserted_at timestamp NOT NULL DEFAULT now(),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    PRIMARY KEY (id, inserted_at)
) PARTITION BY RANGE (inserted_at);

-- One partition a day, as the service makes them.
CREATE FUNCTION realtime.make_partition(day date) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    EXECUTE pg_catalog.format(
        'CREATE TABLE IF NOT EXISTS realtime.%I PARTITION OF realtime.messages FOR VALUES FROM (%L) TO (%L)',
        'messages_' || pg_catalog.to_char(day, 'YYYY_MM_DD'), day, day + 1);
END
$$;
SELECT realtime.make_partition(date '2025-01-01' + n) FROM generate_series(0, 4) n;

CREATE TYPE realtime.action AS ENUM ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'ERROR');
CREATE TYPE realtime.user_defined_filter AS (column_name text, op text, value text);

CREATE TABLE realtime.subscription (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription_id uuid NOT NULL,
    entity regclass NOT NULL,
    filters realtime.user_defined_filter[] NOT NULL DEFAULT '{}',
    claims jsonb NOT NULL,
    created_at timestamp NOT NULL DEFAULT timezone('utc', now())
);

CREATE TABLE realtime.schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp(0));

ALTER TABLE realtime.messages OWNER TO supabase_realtime_admin;
ALTER TABLE realtime.messages ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Listen to public topics" ON realtime.messages FOR SELECT TO authenticated USING (NOT private);
GRANT SELECT, INSERT, UPDATE ON realtime.messages TO anon, authenticated, service_role, postgres;
GRANT SELECT ON realtime.subscription, realtime.schema_migrations TO postgres;

INSERT INTO realtime.messages
SELECT 'room:' || n % 9, 'broadcast', jsonb_build_object('n', n, 'text', repeat('ä', n % 40)), 'shout', n % 4 = 0, at, at,
       md5('realtime ' || n)::uuid
FROM (SELECT n, timestamp '2025-01-01' + n * interval '4 minutes' AS at FROM generate_series(0, 1499) n) rows;

-- entity is a regclass, dumped as a name: the table has to exist before these rows come back.
INSERT INTO realtime.subscription (subscription_id, entity, filters, claims, created_at)
SELECT md5('subscription ' || n)::uuid, 'auth.users'::regclass,
       ARRAY[ROW('id', 'eq', 'a "quoted", value')]::realtime.user_defined_filter[],
       jsonb_build_object('role', 'authenticated'), '2025-01-01'
FROM generate_series(1, 5) n;

INSERT INTO realtime.schema_migrations SELECT 20211116024918 + n * 1000000, '2025-01-01' FROM generate_series(1, 40) n;
