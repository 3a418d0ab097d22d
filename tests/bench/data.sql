-- About 1 GB of plain dump: chat messages with JSON, uuids and timestamps, and embeddings as vectors.
-- The same rows every time: nothing here is random. :rows messages, :vectors embeddings.

-- Containers have 64 MiB of shared memory, less than parallel workers ask for.
SET max_parallel_maintenance_workers = 0;
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE SCHEMA bench;
SET search_path = bench, extensions, public;

CREATE UNLOGGED TABLE words AS
SELECT n, substr(translate(md5('word' || n), '0123456789abcdef', 'etaoinshrdlucmfw'), 1, 2 + n % 8) AS word
FROM generate_series(0, 1999) AS n;

-- Low numbers are common words: a sentence repeats itself about as much as people do.
CREATE UNLOGGED TABLE sentences AS
SELECT s, (
    SELECT string_agg(word, ' ' ORDER BY k)
    FROM generate_series(1, 6 + s % 15) AS k
    JOIN words ON n = (power(('x' || substr(md5(s || '.' || k), 1, 7))::bit(28)::int / 268435456.0, 3) * 2000)::int
) AS sentence
FROM generate_series(0, 19999) AS s;
CREATE INDEX ON sentences (s);
ANALYZE sentences;

CREATE TABLE messages (
    id uuid PRIMARY KEY,
    channel_id bigint NOT NULL,
    user_id uuid NOT NULL,
    body text NOT NULL,
    metadata jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    edited_at timestamptz
);
INSERT INTO messages
SELECT md5('m' || i)::uuid, i % 1000, md5('u' || i % 5000)::uuid, a.sentence || '. ' || b.sentence || '.',
       jsonb_build_object('client', (ARRAY['web', 'ios', 'android'])[1 + i % 3], 'reactions', i % 7,
                          'thread', md5('t' || i % 90000), 'mentions', jsonb_build_array(i % 5000, (i * 7) % 5000)),
       timestamptz '2024-01-01 00:00:00+00' + i * interval '13.7 seconds',
       CASE WHEN i % 9 = 0 THEN timestamptz '2024-01-01 00:05:00+00' + i * interval '13.7 seconds' END
FROM generate_series(1, :rows::bigint) AS i
JOIN sentences a ON a.s = i * 7919 % 20000
JOIN sentences b ON b.s = i * 104729 % 20000;
CREATE INDEX ON messages (channel_id, created_at);

CREATE TABLE embeddings (message_id uuid PRIMARY KEY, embedding :vector_type NOT NULL);
INSERT INTO embeddings
SELECT md5('m' || i)::uuid, (
    SELECT '[' || string_agg(round((('x' || substr(md5(i || ':' || d / 4), 1 + 8 * (d % 4), 8))::bit(32)::int / 2147483648.0)::numeric, 7)::text, ',') || ']'
    FROM generate_series(0, 383) AS d
)::text:::vector_cast
FROM generate_series(1, :vectors::bigint) AS i;

DROP TABLE words, sentences;
VACUUM ANALYZE messages;
VACUUM ANALYZE embeddings;
