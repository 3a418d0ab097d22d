-- What the storage service owns.
SET SESSION AUTHORIZATION supabase_storage_admin;

CREATE TABLE storage.buckets (
    id text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    owner uuid,
    created_at timestamptz DEFAULT now(),
    public boolean DEFAULT false,
    file_size_limit bigint,
    allowed_mime_types text[]
);

CREATE TABLE storage.objects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    bucket_id text REFERENCES storage.buckets,
    name text,
    owner uuid,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    metadata jsonb,
    path_tokens text[] GENERATED ALWAYS AS (string_to_array(name, '/')) STORED,
    version text
);
CREATE UNIQUE INDEX bucketid_objname ON storage.objects (bucket_id, name);
CREATE INDEX name_prefix_search ON storage.objects (name text_pattern_ops);

CREATE TABLE storage.migrations (
    id integer PRIMARY KEY,
    name varchar(100) NOT NULL UNIQUE,
    hash varchar(40) NOT NULL,
    executed_at timestamp DEFAULT current_timestamp
);

-- Rows may only go together with their files, so deleting them needs a setting that the service makes.
CREATE FUNCTION storage.protect_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('storage.allow_delete_query', true), 'false') <> 'true' THEN
        RAISE EXCEPTION 'Direct deletion from storage tables is not allowed. Use the Storage API instead.'
            USING ERRCODE = '42501';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER protect_buckets_delete BEFORE DELETE ON storage.buckets
    FOR EACH STATEMENT EXECUTE FUNCTION storage.protect_delete();
CREATE TRIGGER protect_objects_delete BEFORE DELETE ON storage.objects
    FOR EACH STATEMENT EXECUTE FUNCTION storage.protect_delete();

CREATE FUNCTION storage.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER update_objects_updated_at BEFORE UPDATE ON storage.objects
    FOR EACH ROW EXECUTE FUNCTION storage.touch();

ALTER TABLE storage.buckets ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.migrations ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Avatars are public" ON storage.objects FOR SELECT USING (bucket_id = 'avatars');
CREATE POLICY "Owners upload" ON storage.objects FOR INSERT TO authenticated
    WITH CHECK (bucket_id = 'documents' AND owner IS NOT NULL);
GRANT ALL ON storage.buckets, storage.objects TO anon, authenticated, service_role, postgres;

INSERT INTO storage.buckets VALUES
    ('avatars', 'avatars', NULL, '2025-01-01Z', true, 5242880, '{image/png,image/jpeg}'),
    ('documents', 'documents', md5('user 1')::uuid, '2025-01-02Z', false, NULL, NULL);

INSERT INTO storage.objects (id, bucket_id, name, owner, created_at, updated_at, metadata, version)
SELECT md5('object ' || n)::uuid, CASE WHEN n % 3 = 0 THEN 'documents' ELSE 'avatars' END,
       format('folder %s/Übersicht-%s.png', n % 20, n), md5('user ' || (1 + n % 500))::uuid,
       timestamptz '2025-01-05Z' + n * interval '7 minutes', timestamptz '2025-01-06Z' + n * interval '7 minutes',
       jsonb_build_object('size', n * 11, 'mimetype', 'image/png', 'eTag', format('"%s"', md5('etag ' || n)), 'cacheControl', 'max-age=3600'),
       md5('version ' || n)::uuid::text
FROM generate_series(1, 1500) n;

INSERT INTO storage.migrations
SELECT n, 'migration-' || n, left(encode(sha256(('migration ' || n)::bytea), 'hex'), 40), timestamp '2025-01-01' + n * interval '1 ms'
FROM generate_series(0, 49) n;

RESET SESSION AUTHORIZATION;
