INSERT INTO public.audit_log (what) VALUES ('a function ran')
\watch :interval
