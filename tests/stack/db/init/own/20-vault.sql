-- Secrets whose plain text tests know; the ciphertext differs from stack to stack, as the root key does.
SELECT vault.create_secret('open sesame äöü 🔑', 'test_secret', 'Tests compare its plain text');
SELECT vault.create_secret('smtp-p@ss''word\"', 'smtp_password', 'It''s quoted');
SELECT vault.create_secret('has no name');
