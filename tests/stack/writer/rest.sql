SET ROLE service_role;
INSERT INTO public.messages (channel_id, body) VALUES (1 + floor(random() * 12)::integer, 'written at ' || clock_timestamp())
\watch :interval
