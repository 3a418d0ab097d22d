-- Belongs to a role *and* a database: neither globals nor a dump without --create has it.
ALTER ROLE service_role IN DATABASE postgres SET statement_timeout = '60s';
GRANT ALL ON DATABASE postgres TO postgres WITH GRANT OPTION;
GRANT CREATE ON DATABASE postgres TO supabase_auth_admin, supabase_storage_admin;
COMMENT ON DATABASE postgres IS 'default administrative connection database';

CREATE DATABASE _supabase OWNER supabase_admin;
