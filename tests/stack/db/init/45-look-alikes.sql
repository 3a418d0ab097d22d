-- Objects whose text looks like a dump's own lines. Unlike COPY data it stands in a dump exactly as it is here.
SET SESSION AUTHORIZATION postgres;

CREATE FUNCTION public.looks_like_a_dump() RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
    inner_text text := $inner$
COPY public.messages (id, channel_id, user_id, body) FROM stdin;
1	2	\N	not a row
\.

--
-- PostgreSQL database dump complete
--

\unrestrict abc
\connect template1
$inner$;
BEGIN
    -- $$ is nothing special here, and neither is ' nor "
    RETURN inner_text || $$;
\.
$$;
END
$body$;

CREATE FUNCTION public.quoted_body(a text, b text DEFAULT E'x\nCOPY public.x (a) FROM stdin;\n\\.\n') RETURNS text LANGUAGE sql AS '
SELECT a || ''$_$ it''''s
COPY public.nothing (a) FROM stdin;
\.
'' || b
';

CREATE FUNCTION public."named $x$"() RETURNS text LANGUAGE sql AS $a$ SELECT '$b$ $$ $_$ $_1$' $a$;

CREATE TABLE public.look_alikes (
    id integer PRIMARY KEY,
    with_default text DEFAULT E'--\n-- PostgreSQL database dump complete\n--\n\\.\nCOPY public.look_alikes (id) FROM stdin;\n7\n\\.\n',
    CONSTRAINT "COPY public.y FROM stdin;" CHECK (with_default <> E'\nCOPY public.y (a) FROM stdin;\n')
);
INSERT INTO public.look_alikes (id) VALUES (1), (2), (3);
CREATE VIEW public.look_alike_view AS SELECT id, E'\n\\.\nCOPY public.z (a) FROM stdin;\n1\n\\.\n'::text AS "a column
named on two lines" FROM public.look_alikes;
CREATE POLICY "policy
on two lines" ON public.look_alikes USING (with_default <> E'\n\\.\n');

COMMENT ON TABLE public.look_alikes IS 'It''s "quoted" \ and goes on:
COPY public.look_alikes (id, with_default) FROM stdin;
9	nine
\.

--
-- Name: messages; Type: TABLE; Schema: public; Owner: postgres
--
-- PostgreSQL database dump complete
--
DROP TABLE public.messages; --';
COMMENT ON COLUMN public.look_alikes.with_default IS '\.';
COMMENT ON COLUMN public.copy_traps.value IS $$'; DROP TABLE public.messages; --$$;
COMMENT ON FUNCTION public.looks_like_a_dump() IS 'Größe: 日本 😀
\restrict abc';
COMMENT ON SCHEMA "Odd schema.""q""" IS E'tab\there, line\nbreak, \x01 control';
RESET SESSION AUTHORIZATION;
