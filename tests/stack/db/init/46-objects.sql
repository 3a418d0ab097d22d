-- The rarer kinds of objects, each of which a backup could lose without anybody noticing at once.
SET SESSION AUTHORIZATION postgres;

-- The password of a user mapping is only shown to superusers: a dump by postgres drops it silently.
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'elsewhere.invalid', dbname 'it''s "far"', port '5432');
CREATE USER MAPPING FOR postgres SERVER elsewhere OPTIONS (user 'remote', password 'fdw-p@ss''word');
CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'guest', password 'fdw-guest');
CREATE FOREIGN TABLE public.far_away (id integer OPTIONS (column_name 'ID'), note text) SERVER elsewhere OPTIONS (schema_name 'public', table_name 'near');
GRANT USAGE ON FOREIGN SERVER elsewhere TO service_role;

CREATE TEXT SEARCH DICTIONARY public.short_words (TEMPLATE = pg_catalog.simple, StopWords = german);
CREATE TEXT SEARCH CONFIGURATION public.plain_german (COPY = pg_catalog.german);
ALTER TEXT SEARCH CONFIGURATION public.plain_german ALTER MAPPING FOR asciiword, word WITH public.short_words;

CREATE COLLATION public.natural_sort (provider = icu, locale = 'de-CH-u-kn-true', deterministic = false);
CREATE COLLATION public."plain C" (provider = libc, locale = 'C');
CREATE TABLE public.collated (a text COLLATE public.natural_sort PRIMARY KEY, b text COLLATE public."plain C");
INSERT INTO public.collated SELECT 'item ' || n, 'Item ' || n FROM generate_series(1, 12) n;
CREATE INDEX collated_b_idx ON public.collated (b COLLATE "de-x-icu" DESC NULLS LAST);

CREATE FUNCTION public.roughly_equal(double precision, double precision) RETURNS boolean LANGUAGE sql IMMUTABLE
AS $$ SELECT abs($1 - $2) < 0.001 $$;
CREATE OPERATOR public.=~= (LEFTARG = double precision, RIGHTARG = double precision, FUNCTION = public.roughly_equal, COMMUTATOR = OPERATOR(public.=~=));
CREATE FUNCTION public.longer(text, text) RETURNS text LANGUAGE sql IMMUTABLE
AS $$ SELECT CASE WHEN length($2) > length($1) THEN $2 ELSE $1 END $$;
CREATE AGGREGATE public.longest(text) (SFUNC = public.longer, STYPE = text, INITCOND = '');
CREATE FUNCTION public.colour_number(public.colour) RETURNS integer LANGUAGE sql IMMUTABLE
AS $$ SELECT array_position(enum_range(NULL::public.colour), $1) $$;
CREATE CAST (public.colour AS integer) WITH FUNCTION public.colour_number(public.colour) AS ASSIGNMENT;
CREATE FUNCTION public.compare_backwards(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE
AS $$ SELECT btint4cmp($2, $1) $$;
CREATE OPERATOR CLASS public.backwards FOR TYPE integer USING btree AS
    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 public.compare_backwards(integer, integer);
RESET SESSION AUTHORIZATION;

-- Never connected: its slot is NONE, but DROP DATABASE refuses for as long as it exists, and only a superuser dumps it.
CREATE SUBSCRIPTION from_elsewhere CONNECTION 'host=elsewhere.invalid dbname=postgres user=remote password=sub-p@ssword'
    PUBLICATION supabase_realtime, "only some rows" WITH (connect = false, slot_name = NONE, enabled = false, create_slot = false);

-- Large objects of three owners: a dump by postgres fails on the first that is not its own.
SELECT lo_from_bytea(990001, 'owned by supabase_admin');
SELECT lo_from_bytea(990002, convert_to('owned by postgres: äöü', 'UTF8'));
ALTER LARGE OBJECT 990002 OWNER TO postgres;
SELECT lo_from_bytea(990003, string_agg(sha256(('lo ' || n)::bytea), '' ORDER BY n)) FROM generate_series(1, 6000) n;
ALTER LARGE OBJECT 990003 OWNER TO supabase_storage_admin;
SELECT lo_create(990004);
ALTER LARGE OBJECT 990004 OWNER TO postgres;
-- 2048 bytes to a page: a whole page, nothing, then a page again.
SELECT lo_from_bytea(990005, '\x00ff'), lo_put(990005, 10000, 'after a hole');
GRANT SELECT ON LARGE OBJECT 990001 TO anon;
COMMENT ON LARGE OBJECT 990003 IS 'it''s
large';
