-- Roles as Supabase has them. supabase_admin exists already: initdb made it, the only superuser there will be.
-- Who has a password here gets the stack's own in own/00-passwords.sql.
SELECT setseed(0.42);

-- postgres is a superuser for now, because some of what follows could not come to be otherwise;
-- 90-event-triggers.sql takes it away again, and that is what makes restoring hard.
CREATE ROLE postgres LOGIN SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD 'none yet';

CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD 'none yet';
CREATE ROLE dashboard_user NOLOGIN CREATEDB CREATEROLE REPLICATION;
CREATE ROLE pgbouncer LOGIN PASSWORD 'none yet';
CREATE ROLE supabase_auth_admin LOGIN NOINHERIT CREATEROLE PASSWORD 'none yet';
CREATE ROLE supabase_storage_admin LOGIN NOINHERIT CREATEROLE PASSWORD 'none yet';
CREATE ROLE supabase_functions_admin LOGIN NOINHERIT CREATEROLE PASSWORD 'none yet';
CREATE ROLE supabase_realtime_admin NOLOGIN NOINHERIT;
CREATE ROLE supabase_replication_admin LOGIN REPLICATION PASSWORD 'none yet';
CREATE ROLE supabase_read_only_user LOGIN BYPASSRLS PASSWORD 'none yet';

GRANT anon, authenticated, service_role TO authenticator;
GRANT anon, authenticated, service_role, authenticator TO postgres WITH ADMIN OPTION;
GRANT authenticator TO supabase_storage_admin;
GRANT supabase_realtime_admin, supabase_functions_admin TO postgres;
GRANT pg_monitor, pg_signal_backend TO postgres;
GRANT pg_read_all_data TO postgres, supabase_read_only_user;

ALTER ROLE anon SET statement_timeout = '3s';
ALTER ROLE authenticated SET statement_timeout = '8s';
ALTER ROLE authenticator SET statement_timeout = '8s';
ALTER ROLE authenticator SET lock_timeout = '8s';
ALTER ROLE supabase_auth_admin SET search_path = auth;
ALTER ROLE supabase_auth_admin SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE supabase_storage_admin SET search_path = storage;
ALTER ROLE supabase_admin SET search_path = "$user", public, auth, extensions;
ALTER ROLE postgres SET search_path = "$user", public, extensions;

-- Roles that an installation adds itself, with what only `pg_dumpall --globals-only` carries over.
CREATE ROLE "App Rôle" LOGIN PASSWORD 'none yet' CONNECTION LIMIT 5 VALID UNTIL '2099-12-31 23:59:59+00';
CREATE ROLE "o'brien ""the"" reader" NOLOGIN;
GRANT "o'brien ""the"" reader" TO "App Rôle";
ALTER ROLE "App Rôle" SET application_name = 'it''s "quoted" \ here';
COMMENT ON ROLE "App Rôle" IS 'a role''s comment
on two lines; DROP TABLE public.messages; --';
