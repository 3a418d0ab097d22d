-- Who may look into the vault; its secrets are made in own/20-vault.sql, with the key of the stack.
GRANT SELECT ON vault.secrets, vault.decrypted_secrets TO postgres, service_role;
GRANT EXECUTE ON FUNCTION vault.create_secret(text, text, text, uuid) TO postgres, service_role;
GRANT EXECUTE ON FUNCTION vault._crypto_aead_det_decrypt(bytea, bytea, bytea) TO postgres, service_role;
