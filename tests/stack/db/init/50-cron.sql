-- Two jobs that never run while a test looks, one of them switched off; owned by postgres, as users make them.
GRANT USAGE ON SCHEMA cron TO postgres WITH GRANT OPTION;
GRANT SELECT ON cron.job, cron.job_run_details TO postgres;
SET SESSION AUTHORIZATION postgres;
SELECT cron.schedule('nightly-purge', '30 3 * * *', $$DELETE FROM public.audit_log WHERE at < now() - interval '90 days'; -- it's "quoted"$$);
SELECT cron.schedule('yearly-refresh', '0 0 1 1 *', 'CALL public.refresh_counts()');
RESET SESSION AUTHORIZATION;
SELECT cron.alter_job((SELECT jobid FROM cron.job WHERE jobname = 'yearly-refresh'), active := false);
