-- Event triggers come last, else they would fire for everything above; then postgres loses its power.
CREATE FUNCTION extensions.tell_postgrest() RETURNS event_trigger LANGUAGE plpgsql
AS $$ BEGIN NOTIFY pgrst, 'reload schema'; END $$;
CREATE EVENT TRIGGER pgrst_ddl_watch ON ddl_command_end EXECUTE FUNCTION extensions.tell_postgrest();
CREATE EVENT TRIGGER pgrst_drop_watch ON sql_drop EXECUTE FUNCTION extensions.tell_postgrest();

-- Owned by postgres, made while it could. Only a superuser may own one, so restoring its owner fails unless
-- postgres is made a superuser for that moment.
SET SESSION AUTHORIZATION postgres;
CREATE TABLE public.ddl_log (id bigserial PRIMARY KEY, at timestamptz DEFAULT now(), tag text, object text);
CREATE FUNCTION public.log_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO public.ddl_log (tag, object) SELECT command_tag, object_identity FROM pg_catalog.pg_event_trigger_ddl_commands();
END
$$;
CREATE EVENT TRIGGER "log DDL" ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION public.log_ddl();
COMMENT ON EVENT TRIGGER "log DDL" IS 'owned by postgres, which is no superuser';
CREATE TABLE public.seen_by_event_trigger (id integer);
DROP TABLE public.seen_by_event_trigger;
UPDATE public.ddl_log SET at = '2025-01-01Z';
RESET SESSION AUTHORIZATION;
CREATE EVENT TRIGGER a_disabled_one ON table_rewrite EXECUTE FUNCTION extensions.tell_postgrest();
ALTER EVENT TRIGGER a_disabled_one DISABLE;

ALTER ROLE postgres NOSUPERUSER;
ANALYZE;
