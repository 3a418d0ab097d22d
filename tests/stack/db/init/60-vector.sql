-- Embeddings, where the image has pgvector.
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') AS has_vector \gset
\if :has_vector
SET SESSION AUTHORIZATION postgres;
CREATE TABLE public.documents (id integer PRIMARY KEY, content text, embedding extensions.vector(384));
INSERT INTO public.documents
SELECT d, 'document ' || d,
       (SELECT array_agg(round((random() * d / d)::numeric, 5) ORDER BY n) FROM generate_series(1, 384) n)::extensions.vector
FROM generate_series(1, 500) d;
CREATE INDEX documents_embedding_idx ON public.documents USING hnsw (embedding extensions.vector_cosine_ops);
RESET SESSION AUTHORIZATION;
\endif
