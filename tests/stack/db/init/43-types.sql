-- One table with a column of every built-in type: a usual row, two extreme ones, one of nothing but NULL.
SET SESSION AUTHORIZATION postgres;

CREATE TYPE public.colour AS ENUM ('red', 'Grün', 'it''s "blue"', 'a, b', '');
CREATE DOMAIN public.percentage AS numeric(5, 2) DEFAULT 50 NOT NULL CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN public.maybe_percentage AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE public.float_range AS RANGE (subtype = float8, subtype_diff = float8mi);

CREATE TABLE public.every_type (
    id integer PRIMARY KEY,
    c_smallint smallint, c_integer integer, c_bigint bigint,
    c_real real, c_double double precision, c_numeric numeric, c_numeric_scaled numeric(20, 6), c_money money,
    c_text text, c_varchar varchar(40), c_char char(10), c_internal_char "char", c_name name, c_bytea bytea,
    c_date date, c_time time, c_timetz timetz, c_timestamp timestamp, c_timestamptz timestamptz, c_timestamp_0 timestamp(0), c_interval interval, c_interval_ym interval year to month,
    c_boolean boolean, c_enum public.colour, c_domain public.maybe_percentage, c_composite public.address,
    c_point point, c_line line, c_lseg lseg, c_box box, c_path path, c_polygon polygon, c_circle circle,
    c_inet inet, c_cidr cidr, c_macaddr macaddr, c_macaddr8 macaddr8,
    c_bit bit(8), c_varbit varbit(20), c_tsvector tsvector, c_tsquery tsquery,
    c_uuid uuid, c_xml xml, c_json json, c_jsonb jsonb, c_jsonpath jsonpath,
    c_int_array integer[], c_text_array text[], c_matrix integer[][], c_composite_array public.address[], c_enum_array public.colour[],
    c_int4range int4range, c_int8range int8range, c_numrange numrange, c_tsrange tsrange, c_tstzrange tstzrange, c_daterange daterange, c_float_range public.float_range,
    c_int4multirange int4multirange, c_int8multirange int8multirange, c_nummultirange nummultirange, c_tsmultirange tsmultirange, c_tstzmultirange tstzmultirange, c_datemultirange datemultirange,
    c_pg_lsn pg_lsn, c_pg_snapshot pg_snapshot, c_txid_snapshot txid_snapshot, c_xid xid, c_xid8 xid8, c_cid cid, c_tid tid,
    c_oid oid, c_regproc regproc, c_regprocedure regprocedure, c_regoper regoper, c_regoperator regoperator, c_regclass regclass, c_regtype regtype,
    c_regrole regrole, c_regnamespace regnamespace, c_regconfig regconfig, c_regdictionary regdictionary, c_regcollation regcollation,
    c_oidvector oidvector, c_int2vector int2vector, c_aclitem aclitem, c_refcursor refcursor,
    c_hstore extensions.hstore, c_citext extensions.citext, c_ltree extensions.ltree, c_lquery extensions.lquery
);

INSERT INTO public.every_type VALUES (
    1,
    1, 2, 3,
    1.5, 2.25, 12345.678900, 12345.678900, '$1,234.50',
    'plain', 'varchar', 'char', 'c', 'name', '\x00ff10',
    '2025-06-15', '12:34:56.789', '12:34:56.789+02', '2025-06-15 12:34:56.789012', '2025-06-15 12:34:56.789012+02', '2025-06-15 12:34:56', '1 year 2 mons 3 days 04:05:06.7', '1 year 2 mons',
    true, 'red', 12.34, ROW('Bahnhofstrasse 1', 8001),
    '(1,2)', '{1,2,3}', '[(0,0),(1,1)]', '((2,2),(0,0))', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(1,1),5>',
    '192.0.2.7/24', '192.0.2.0/24', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
    B'10101010', B'1011', 'a:1A fat:2B,4C cat:5', 'fat & (rat | cat:B*)',
    '01234567-89ab-cdef-0123-456789abcdef', '<a href="x">it''s &amp; &lt;</a>', '{"b": 1, "a": [1,  2], "b": 2}', '{"b": 1, "a": [1, 2, null], "n": 1e3}', '$.a[*] ? (@ > 1 && @.b == "q\"")',
    '{1,2,NULL}', '{"a,b","c\"d","e\\f",NULL,"NULL",""}', '{{1,2},{3,4}}', ARRAY[ROW('a "b"', 1), ROW(NULL, NULL)]::public.address[], '{red,"a, b",""}',
    '[1,5)', '(,5)', '[1.1,2.2]', '[2025-01-01,2025-02-01)', '[2025-01-01 00:00+00,)', '[2025-01-01,2025-12-31]', '[1.5,2.5]',
    '{[1,3),[5,7)}', '{}', '{[1.1,2.2]}', '{[2025-01-01,2025-02-01)}', '{[2025-01-01 00:00+00,2025-02-01 00:00+00)}', '{[2025-01-01,2025-02-01),[2025-03-01,)}',
    '16/B374D848', '10:20:10,14,15', '10:20:10,14,15', '123', '456', '7', '(1,2)',
    16384, 'pg_catalog.now', 'pg_catalog.lower(text)', '|/', '+(integer,integer)', 'public."Größe"', 'public.colour',
    '"App Rôle"', 'public', 'english', 'simple', '"C"',
    '1 2 3', '4 5 6', 'postgres=arwdDxt/postgres', 'a cursor',
    'a=>1, "b c"=>NULL, "q\""=>"\\"', 'CiText', 'Top.Science.Astronomy', 'Top.*{1,2}.Astro*@'
), (
    2,
    -32768, -2147483648, -9223372036854775808,
    'NaN', '-Infinity', 'NaN', -0.000001, '-92233720368547758.08',
    '', '', '', '', '', '\x',
    '4713-01-01 BC', '00:00', '24:00:00-15:59', '4713-01-01 00:00:00 BC', '0044-03-15 12:00:00+00 BC', '-infinity', '-178000000 years', '-178000000 years',
    false, '', 0, ROW(NULL, NULL),
    '(-Infinity,NaN)', '{0,-1,0}', '[(0,0),(0,0)]', '((0,0),(0,0))', '((0,0))', '((0,0))', '<(0,0),0>',
    '::', '::/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00',
    B'00000000', B'', '', '',
    '00000000-0000-0000-0000-000000000000', '', 'null', 'null', 'strict $',
    '{}', '{}', '{}', '{}', '{}',
    'empty', 'empty', '(,)', 'empty', '(,)', 'empty', '(,)',
    '{}', '{(,)}', '{}', '{}', '{}', '{}',
    '0/0', '1:1:', '1:1:', '0', '0', '0', '(0,0)',
    0, '-', '-', '0', '0', '-', '-',
    '-', '-', '-', '-', '-',
    '', '', '=/postgres', '',
    '', '', '', '*'
), (
    3,
    32767, 2147483647, 9223372036854775807,
    '3.4028235e38', '1.7976931348623157e308', 'Infinity', 99999999999999.999999, '92233720368547758.07',
    E'tab\there\nline\\ back', E'quote'' "double"', 'ÄÖÜ', '\377', 'sixty-three', decode(repeat('00ff5c0a', 64), 'hex'),
    'infinity', '24:00:00', '00:00:00+15:59', 'infinity', '294276-12-31 23:59:59.999999+00', '2025-01-01', '178000000 years -11 mons +2147483647 days', '178000000 years',
    NULL, 'it''s "blue"', 100, ROW('quote " , ( ) \ and
line', -1),
    '(1e300,-1e-300)', '{1,0,-1e10}', '[(-1,-1),(1e10,1)]', '((1e10,1e10),(-1e10,-1e10))', '((0,0),(1,1))', '((0,0),(0,1),(1,1),(1,0))', '<(1e10,0),1e5>',
    'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db8::/32', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff',
    B'11111111', B'11111111111111111111', '''it''''s'':1 ''back\\slash'':16383', '!''x y'' <3> z:*',
    'ffffffff-ffff-ffff-ffff-ffffffffffff', '<?xml version="1.0"?><r><![CDATA[ \. ]]></r>', E'"\\u00e9\\n"', '{"\\": "\n\t", "é": "😀"}', '$."a b"[last]',
    '[-1:1]={1,2,3}', E'{"new\nline","tab\there","\\\\.",😀}', '[0:1][2:3]={{1,2},{3,4}}', ARRAY[ROW(E'a\tb\\', 2)]::public.address[], '{"it''s \"blue\"",NULL}',
    '[-2147483648,2147483647)', '[-9223372036854775808,9223372036854775807)', '(-Infinity,Infinity)', '[-infinity,infinity]', '[-infinity,infinity)', '[-infinity,infinity)', '(-Infinity,Infinity)',
    '{(,0),[1,2),[3,)}', '{[1,2)}', '{(,)}', '{(,)}', '{[infinity,infinity]}', '{(,)}',
    'FFFFFFFF/FFFFFFFF', '1:9223372036854775807:5', '1:9223372036854775807:5', '4294967295', '18446744073709551615', '4294967295', '(4294967294,65535)',
    4294967295, 'public.count_firing', 'public.channel_size(bigint)', 'pg_catalog.||/', 'pg_catalog.||/(none,double precision)', 'public.messages_id_seq', 'public.every_type[]',
    'pg_read_all_data', '"Odd schema.""q"""', 'german', 'german_stem', '"de-x-icu"',
    '4294967295', '-32768 32767', '"App Rôle"=r*w*/postgres', E'cur\nsor',
    E'"new\nline"=>"tab\t"', 'ÄÖÜ', 'a.b.c.d.e.f', '!a.*.b'
);
INSERT INTO public.every_type (id) VALUES (4);

-- A domain that forbids NULL cannot be in the row above.
CREATE TABLE public.not_null_domain (id integer PRIMARY KEY, share public.percentage);
INSERT INTO public.not_null_domain (id) VALUES (1);
RESET SESSION AUTHORIZATION;
