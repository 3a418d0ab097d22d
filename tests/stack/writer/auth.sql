-- A session and its token in one statement: a dump that has one without the other was not of one moment.
WITH session AS (
    INSERT INTO auth.sessions (user_id, user_agent)
    SELECT id, 'writer' FROM auth.users WHERE email = format('user%s@example.com', 1 + floor(random() * 500)::integer)
    RETURNING id, user_id
)
INSERT INTO auth.refresh_tokens (token, user_id, session_id)
SELECT left(md5(id::text), 12) || left(md5(user_id::text), 8) || floor(random() * 1e9), user_id, id FROM session
\watch :interval
