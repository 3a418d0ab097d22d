-- Values that a reader of a dump's COPY sections can trip over.
SET SESSION AUTHORIZATION postgres;

CREATE TABLE public.copy_traps (id integer PRIMARY KEY, label text NOT NULL, value text, other text);
INSERT INTO public.copy_traps (id, label, value, other) VALUES
    (1, 'null beside empty', NULL, ''),
    (2, 'empty beside null', '', NULL),
    (3, 'looks like null', '\N', E'\\\\N'),
    (4, 'end of data, alone', '\.', E'\\.\n'),
    (5, 'end of data, on a line of its own', E'before\n\\.\nafter', E'\n\\.\n'),
    (6, 'back-slashes', '\', '\\\\ \b \t \n \x41 \101 \'),
    (7, 'tabs', E'\t', E'a\tb\t\tc\t'),
    (8, 'line feeds', E'\n', E'\n\n\n'),
    (9, 'carriage returns', E'\r', E'a\r\nb\r'),
    (10, 'every control character', (SELECT string_agg(chr(n), '' ORDER BY n) FROM generate_series(1, 31) n), E'\x7f'),
    (11, 'next to where NUL would be', E'\x01', E'\x01\x7f\x02'),
    (12, 'four bytes each', '😀🏔🇨🇭', '𐍈'),
    (13, 'combining and right-to-left', U&'e\0301', 'שלום مرحبا'),
    (14, 'byte order mark and line separators', U&'\FEFF', U&'\2028\2029\0085'),
    (15, 'spaces', ' ', '  leading and trailing  '),
    (16, 'looks like a COPY', 'COPY public.x (a) FROM stdin;', E'COPY public.messages (id) FROM stdin;\n1\n\\.\n'),
    (17, 'looks like the end', '-- PostgreSQL database dump complete', E'--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n'),
    (18, 'looks like psql', '\connect template1', '\! touch /tmp/pwned'),
    (19, 'quotes', '''"`$$ $body$', 'E''\'''''),
    (20, 'the last character before surrogates', U&'\D7FF', U&'\+10FFFF'),
    (21, 'one very long line (3 MiB)', repeat('0123456789abcdef', 196608), NULL),
    (22, 'many lines in one value', repeat(E'\\.\n\tx\\\n', 20000), NULL);
-- At each length around a power of two, a back-slash as the last byte: where a buffer may end between the two
-- bytes of an escape.
INSERT INTO public.copy_traps
SELECT 100 + row_number() OVER (), 'back-slash at byte ' || n, repeat('x', n - 1) || '\', NULL
FROM (SELECT (1 << p) + d AS n FROM generate_series(12, 17) p, generate_series(-2, 2) d) lengths;

-- Rows that are the same must stay as many as they were.
CREATE TABLE public.duplicates (a integer, b text);
INSERT INTO public.duplicates SELECT 1, 'same' FROM generate_series(1, 20);
INSERT INTO public.duplicates SELECT 2, NULL FROM generate_series(1, 3);
-- One column: a row that is the empty string is an empty line, a lone \N or \. is all there is of it.
CREATE TABLE public.one_column (v text);
INSERT INTO public.one_column VALUES (''), (NULL), ('\.'), ('\N'), (E'\n'), ('');
RESET SESSION AUTHORIZATION;
