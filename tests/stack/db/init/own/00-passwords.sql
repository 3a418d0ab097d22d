-- Every role that has a password gets the one of this stack.
\getenv password POSTGRES_PASSWORD
SELECT format('ALTER ROLE %I PASSWORD %L', rolname, :'password') FROM pg_authid WHERE rolpassword IS NOT NULL ORDER BY oid \gexec
