-- Schemas and extensions.
CREATE SCHEMA auth;
CREATE SCHEMA storage;
CREATE SCHEMA realtime;
CREATE SCHEMA vault;
CREATE SCHEMA extensions;
CREATE SCHEMA graphql_public;
CREATE SCHEMA pgbouncer AUTHORIZATION pgbouncer;

GRANT ALL ON SCHEMA auth TO supabase_auth_admin;
GRANT ALL ON SCHEMA storage TO supabase_storage_admin;
GRANT ALL ON SCHEMA realtime TO supabase_realtime_admin;
GRANT USAGE ON SCHEMA auth, storage, realtime, extensions, graphql_public TO anon, authenticated, service_role;
GRANT ALL ON SCHEMA auth, storage, extensions TO dashboard_user;
GRANT ALL ON SCHEMA extensions, graphql_public TO postgres WITH GRANT OPTION;
GRANT USAGE ON SCHEMA auth, storage, realtime, vault TO postgres;
GRANT ALL ON SCHEMA public TO postgres, "App Rôle";
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;

CREATE EXTENSION pgcrypto SCHEMA extensions;
CREATE EXTENSION "uuid-ossp" SCHEMA extensions;
CREATE EXTENSION pg_stat_statements SCHEMA extensions;
CREATE EXTENSION hstore SCHEMA extensions;
CREATE EXTENSION citext SCHEMA extensions;
CREATE EXTENSION ltree SCHEMA extensions;
CREATE EXTENSION pg_trgm SCHEMA extensions;
CREATE EXTENSION postgres_fdw SCHEMA extensions;
CREATE EXTENSION supabase_vault SCHEMA vault;
CREATE EXTENSION pg_cron SCHEMA pg_catalog;

-- On PostgreSQL 17 only; elsewhere 60-vector.sql has nothing to do either.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') AS has_vector \gset
\if :has_vector
CREATE EXTENSION vector SCHEMA extensions;
\endif

-- Schemas differ in what later tables grant by themselves, and so do the roles that make them.
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin IN SCHEMA public
    GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin IN SCHEMA graphql_public
    GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_auth_admin IN SCHEMA auth
    GRANT ALL ON TABLES TO postgres, dashboard_user;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA storage
    GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE "App Rôle" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE FUNCTION graphql_public.graphql(query text, variables jsonb DEFAULT NULL) RETURNS jsonb
LANGUAGE sql AS $$ SELECT jsonb_build_object('data', NULL, 'query', query, 'variables', variables) $$;

-- The pooler looks passwords up with this.
CREATE FUNCTION pgbouncer.get_auth(wanted text) RETURNS TABLE (username text, password text)
LANGUAGE sql SECURITY DEFINER SET search_path = ''
AS $$ SELECT rolname::text, rolpassword::text FROM pg_catalog.pg_authid WHERE rolname = wanted $$;
REVOKE ALL ON FUNCTION pgbouncer.get_auth(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.get_auth(text) TO pgbouncer;
