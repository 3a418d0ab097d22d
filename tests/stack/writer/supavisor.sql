INSERT INTO _supavisor.client_connections (tenant) VALUES ('dev_tenant')
\watch :interval
