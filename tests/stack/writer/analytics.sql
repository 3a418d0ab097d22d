INSERT INTO _analytics.log_events VALUES (gen_random_uuid(), 1, '{"metadata": []}', 'written', clock_timestamp())
\watch :interval
