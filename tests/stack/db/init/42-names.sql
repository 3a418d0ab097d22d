-- Names that break what does not quote. tests/stack/README.md lists them.
SET SESSION AUTHORIZATION postgres;

CREATE SCHEMA "Odd schema.""q""";
CREATE TABLE "Odd schema.""q"""."Table; DROP" ("col umn" integer PRIMARY KEY, "UPPER" text, "a.b" text, "quote""d" text, "-- note" text);
INSERT INTO "Odd schema.""q"""."Table; DROP" SELECT n, 'U', 'a.b', '"', '--' FROM generate_series(1, 5) n;
CREATE SEQUENCE "Odd schema.""q"""."Sé quence" START WITH 99;

CREATE TABLE public."Größe" (id integer PRIMARY KEY, "Maß in m²" numeric, "naïve ☃" text);
INSERT INTO public."Größe" SELECT n, n / 7.0, repeat('☃', n) FROM generate_series(1, 5) n;
CREATE TABLE public."日本 語" ("列" text, "番号" serial);
INSERT INTO public."日本 語" SELECT '値 ' || n FROM generate_series(1, 5) n;
CREATE TABLE public."we""ird.na me" ("select" integer, "from" text);
INSERT INTO public."we""ird.na me" SELECT n, 'where' FROM generate_series(1, 5) n;
-- The name itself holds a line break, so its COPY statement takes two lines of a dump.
CREATE TABLE public.U&"new\000Aline" (id integer, U&"col\000Aumn" text);
INSERT INTO public.U&"new\000Aline" SELECT n, E'line\nbreak' FROM generate_series(1, 5) n;
CREATE TABLE public."$(touch /tmp/pwned) `id` ${HOME}" (id integer);
INSERT INTO public."$(touch /tmp/pwned) `id` ${HOME}" SELECT n FROM generate_series(1, 5) n;
CREATE TABLE public."back\slash" ("\N" integer, "\." text);
INSERT INTO public."back\slash" SELECT n, '\.' FROM generate_series(1, 5) n;
CREATE TABLE public."it's -- a /* comment" (id integer);
INSERT INTO public."it's -- a /* comment" SELECT n FROM generate_series(1, 5) n;
CREATE TABLE public."COPY public.x (a) FROM stdin;" (id integer);
INSERT INTO public."COPY public.x (a) FROM stdin;" SELECT n FROM generate_series(1, 5) n;
CREATE TABLE public."../../etc/passwd" (id integer);
INSERT INTO public."../../etc/passwd" SELECT n FROM generate_series(1, 5) n;
-- 63 bytes, the longest name there is, ending in a character of two bytes.
CREATE TABLE public."a23456789_123456789_123456789_123456789_123456789_123456789_1é" (id integer);
INSERT INTO public."a23456789_123456789_123456789_123456789_123456789_123456789_1é" SELECT n FROM generate_series(1, 5) n;
-- Differ by case only.
CREATE TABLE public."Case" (id integer);
CREATE TABLE public."case" (id integer);
INSERT INTO public."Case" VALUES (1);
INSERT INTO public."case" VALUES (1), (2);
RESET SESSION AUTHORIZATION;
