INSERT INTO storage.objects (bucket_id, name, metadata, version)
VALUES ('documents', 'written/' || gen_random_uuid(), '{"size": 0, "mimetype": "text/plain"}', gen_random_uuid())
\watch :interval
