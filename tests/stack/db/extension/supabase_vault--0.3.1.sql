\echo Use "CREATE EXTENSION supabase_vault" to load this file. \quit

-- What matters for a backup is the same as in the real extension: the rows of vault.secrets are dumped (they are
-- the extension's configuration table), the key that opens them is not in the database at all.

CREATE TABLE vault.secrets (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        text,
    description text NOT NULL DEFAULT '',
    secret      text NOT NULL,
    key_id      uuid,
    nonce       bytea DEFAULT extensions.gen_random_bytes(16),
    created_at  timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at  timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);
COMMENT ON TABLE vault.secrets IS 'Secrets, encrypted; read them through vault.decrypted_secrets';
CREATE UNIQUE INDEX secrets_name_idx ON vault.secrets (name) WHERE name IS NOT NULL;
SELECT pg_extension_config_dump('vault.secrets', '');

-- The copy of the key that the entry point made when the server started. Only a superuser may read a file,
-- hence SECURITY DEFINER here and in the two functions that use it.
CREATE FUNCTION vault._root_key() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT pg_catalog.pg_read_file('/run/vault/root.key', 0, 64) $$;

-- The nonce and the row's id are part of the passphrase, so a secret that was moved to another row does not open.
CREATE FUNCTION vault._passphrase(additional bytea, nonce bytea) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
    SELECT vault._root_key() || pg_catalog.encode(additional, 'hex') || pg_catalog.encode(nonce, 'hex')
$$;

CREATE FUNCTION vault._crypto_aead_det_encrypt(message bytea, additional bytea, nonce bytea) RETURNS bytea
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$ SELECT extensions.pgp_sym_encrypt_bytea(message, vault._passphrase(additional, nonce)) $$;

CREATE FUNCTION vault._crypto_aead_det_decrypt(message bytea, additional bytea, nonce bytea) RETURNS bytea
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ''
AS $$
BEGIN
    RETURN extensions.pgp_sym_decrypt_bytea(message, vault._passphrase(additional, nonce));
EXCEPTION WHEN external_routine_invocation_exception THEN
    RAISE EXCEPTION 'pgsodium_crypto_aead_det_decrypt_by_id: invalid ciphertext';
END
$$;

CREATE VIEW vault.decrypted_secrets AS
SELECT id, name, description, secret,
       convert_from(
           vault._crypto_aead_det_decrypt(decode(secret, 'base64'), convert_to(id::text, 'utf8'), nonce), 'utf8'
       ) AS decrypted_secret,
       key_id, nonce, created_at, updated_at
FROM vault.secrets;

CREATE FUNCTION vault.create_secret(
    new_secret text, new_name text DEFAULT NULL, new_description text DEFAULT '', new_key_id uuid DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
    new_id uuid := pg_catalog.gen_random_uuid();
    new_nonce bytea := extensions.gen_random_bytes(16);
BEGIN
    INSERT INTO vault.secrets (id, name, description, secret, key_id, nonce)
    VALUES (new_id, new_name, new_description,
            pg_catalog.encode(vault._crypto_aead_det_encrypt(
                pg_catalog.convert_to(new_secret, 'utf8'), pg_catalog.convert_to(new_id::text, 'utf8'), new_nonce
            ), 'base64'),
            new_key_id, new_nonce);
    RETURN new_id;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
