-- Secrets whose plain text tests know; the ciphertext differs from stack to stack, as the root key does.
GRANT SELECT ON vault.secrets, vault.decrypted_secrets TO postgres, service_role;
GRANT EXECUTE ON FUNCTION vault.create_secret(text, text, text, uuid) TO postgres, service_role;
GRANT EXECUTE ON FUNCTION vault._crypto_aead_det_decrypt(bytea, bytea, bytea) TO postgres, service_role;

SELECT vault.create_secret('open sesame äöü 🔑', 'test_secret', 'Tests compare its plain text');
SELECT vault.create_secret('smtp-p@ss''word\"', 'smtp_password', 'It''s quoted');
SELECT vault.create_secret('has no name');
