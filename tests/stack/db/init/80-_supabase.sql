-- The second database: what analytics and the pooler keep.
\connect _supabase
CREATE SCHEMA _analytics;
CREATE SCHEMA _supavisor;

CREATE TABLE _analytics.sources (id bigserial PRIMARY KEY, name text UNIQUE, token uuid, inserted_at timestamp(0) NOT NULL);
CREATE TABLE _analytics.log_events (
    id text PRIMARY KEY,
    source_id bigint REFERENCES _analytics.sources,
    body jsonb,
    event_message text,
    timestamp timestamptz
);
CREATE INDEX log_events_timestamp_idx ON _analytics.log_events USING brin (timestamp);
CREATE TABLE _analytics.schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp(0));

CREATE TABLE _supavisor.tenants (
    id uuid PRIMARY KEY,
    external_id text NOT NULL UNIQUE,
    db_host text NOT NULL,
    db_port integer NOT NULL,
    default_pool_size integer NOT NULL DEFAULT 15,
    upstream_tls_ca bytea
);
CREATE TABLE _supavisor.users (
    id uuid PRIMARY KEY,
    tenant_external_id text REFERENCES _supavisor.tenants (external_id) ON DELETE CASCADE,
    db_user text NOT NULL,
    db_pass_encrypted bytea NOT NULL
);
CREATE TABLE _supavisor.client_connections (id bigserial PRIMARY KEY, tenant text, connected_at timestamptz DEFAULT now());
CREATE TABLE _supavisor.schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp(0));

INSERT INTO _analytics.sources (name, token, inserted_at)
SELECT name, md5(name)::uuid, '2025-01-01' FROM unnest(ARRAY['cloudflare.logs.prod', 'postgres.logs', 'gotrue.logs.prod']) name;
INSERT INTO _analytics.log_events
SELECT md5('event ' || n), 1 + n % 3,
       jsonb_build_object('metadata', jsonb_build_array(jsonb_build_object('host', 'db', 'pid', n, 'parsed', jsonb_build_object('level', 'LOG')))),
       format('checkpoint complete: wrote %s buffers ("%s")', n, md5(n::text)), timestamptz '2025-05-01Z' + n * interval '11 seconds'
FROM generate_series(1, 3000) n;
INSERT INTO _analytics.schema_migrations SELECT 20210729161959 + n * 1000000, '2025-01-01' FROM generate_series(1, 30) n;
INSERT INTO _supavisor.tenants VALUES (md5('tenant')::uuid, 'dev_tenant', 'db', 5432, 20, '\x00ff');
INSERT INTO _supavisor.users VALUES (md5('tenant user')::uuid, 'dev_tenant', 'pgbouncer', sha256('password'));
INSERT INTO _supavisor.client_connections (tenant, connected_at)
SELECT 'dev_tenant', timestamptz '2025-05-01Z' + n * interval '1 minute' FROM generate_series(1, 200) n;
INSERT INTO _supavisor.schema_migrations SELECT 20230601125553 + n * 1000000, '2025-01-01' FROM generate_series(1, 20) n;
ANALYZE;
\connect postgres
