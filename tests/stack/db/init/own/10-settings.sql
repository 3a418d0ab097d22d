-- Settings of a database are dumped with --create only, and they bring an old JWT secret back when restored.
\getenv jwt_secret JWT_SECRET
\getenv jwt_exp JWT_EXP
\if :{?jwt_secret}
\else
\set jwt_secret no-real-secret-only-for-the-test-stack-0123456789
\endif
\if :{?jwt_exp}
\else
\set jwt_exp 3600
\endif
ALTER DATABASE postgres SET "app.settings.jwt_secret" = :'jwt_secret';
ALTER DATABASE postgres SET "app.settings.jwt_exp" = :'jwt_exp';
