-- What the auth service owns.
SET SESSION AUTHORIZATION supabase_auth_admin;

CREATE TYPE auth.factor_type AS ENUM ('totp', 'webauthn', 'phone');

CREATE TABLE auth.users (
    id uuid PRIMARY KEY,
    aud varchar(255),
    role varchar(255),
    email varchar(255),
    encrypted_password varchar(255),
    email_confirmed_at timestamptz,
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb,
    is_super_admin boolean,
    created_at timestamptz,
    updated_at timestamptz,
    phone text DEFAULT NULL,
    confirmed_at timestamptz GENERATED ALWAYS AS (email_confirmed_at) STORED,
    is_sso_user boolean NOT NULL DEFAULT false,
    deleted_at timestamptz,
    CONSTRAINT users_phone_key UNIQUE (phone)
);
CREATE UNIQUE INDEX users_email_partial_key ON auth.users (email) WHERE (is_sso_user = false);
CREATE INDEX users_lower_email_idx ON auth.users (lower(email::text));
COMMENT ON TABLE auth.users IS 'Auth: Stores user login data within a secure schema.';

CREATE TABLE auth.identities (
    provider_id text NOT NULL,
    user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    identity_data jsonb NOT NULL,
    provider text NOT NULL,
    email text GENERATED ALWAYS AS (lower(identity_data ->> 'email')) STORED,
    created_at timestamptz,
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    UNIQUE (provider_id, provider)
);

CREATE TABLE auth.sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    created_at timestamptz DEFAULT now(),
    user_agent text,
    ip inet
);

CREATE TABLE auth.refresh_tokens (
    id bigserial PRIMARY KEY,
    token varchar(255) UNIQUE,
    user_id varchar(255),
    revoked boolean DEFAULT false,
    created_at timestamptz DEFAULT now(),
    parent varchar(255),
    session_id uuid NOT NULL REFERENCES auth.sessions ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_session_id_revoked_idx ON auth.refresh_tokens (session_id, revoked);

CREATE TABLE auth.mfa_factors (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    friendly_name text,
    factor_type auth.factor_type NOT NULL
);

CREATE TABLE auth.schema_migrations (version varchar(255) PRIMARY KEY);

CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE
AS $$ SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE
AS $$ SELECT nullif(current_setting('request.jwt.claim.role', true), '')::text $$;

ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.refresh_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.schema_migrations ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Users see themselves" ON auth.users FOR SELECT TO authenticated USING (auth.uid() = id);

GRANT ALL ON ALL TABLES IN SCHEMA auth TO postgres, dashboard_user;
REVOKE ALL ON auth.schema_migrations FROM postgres, dashboard_user;

-- Everything below comes from the row's number, so two fresh stacks hold the same rows.
INSERT INTO auth.users
    (id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data, created_at, updated_at, phone)
SELECT md5('user ' || n)::uuid, 'authenticated', 'authenticated', format('user%s@example.com', n),
       '$2a$10$' || left(translate(encode(sha256(('password ' || n)::bytea), 'base64'), '+=', './'), 43) || '0123456789',
       CASE WHEN n % 7 > 0 THEN timestamptz '2025-01-01 00:00:00Z' + n * interval '17 minutes' END,
       jsonb_build_object('provider', 'email', 'providers', jsonb_build_array('email')),
       jsonb_build_object('name', format('Üser "%s" O''Neil \ n°%s', chr(64 + n % 26), n)),
       timestamptz '2025-01-01 00:00:00Z' + n * interval '13 minutes',
       timestamptz '2025-02-01 00:00:00.123456Z' + n * interval '1 hour',
       CASE WHEN n % 5 = 0 THEN format('+4179%s', lpad(n::text, 7, '0')) END
FROM generate_series(1, 500) n;

INSERT INTO auth.identities (provider_id, user_id, identity_data, provider, created_at, id)
SELECT id::text, id, jsonb_build_object('sub', id, 'email', upper(email)), 'email', created_at, md5('identity ' || id)::uuid
FROM auth.users;

INSERT INTO auth.sessions (id, user_id, created_at, user_agent, ip)
SELECT md5('session ' || n)::uuid, md5('user ' || (1 + n % 500))::uuid, timestamptz '2025-03-01 00:00:00Z' + n * interval '1 minute',
       'Mozilla/5.0 (X11; Linux x86_64)', ('192.0.2.' || n % 250)::inet
FROM generate_series(1, 1000) n;

INSERT INTO auth.refresh_tokens (token, user_id, revoked, created_at, session_id)
SELECT left(md5('token ' || n), 12), user_id::text, n % 3 = 0, created_at, id
FROM (SELECT *, row_number() OVER (ORDER BY created_at) AS n FROM auth.sessions) s;

INSERT INTO auth.mfa_factors
SELECT md5('factor ' || n)::uuid, md5('user ' || n)::uuid, 'phone of ' || n, 'totp' FROM generate_series(1, 20) n;

INSERT INTO auth.schema_migrations SELECT to_char(date '2022-01-01' + n * 17, 'YYYYMMDD') || '000000' FROM generate_series(1, 60) n;

RESET SESSION AUTHORIZATION;
