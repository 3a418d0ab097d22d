use super::*;

const ENV: &str = "\
############
# Secrets
# YOU MUST CHANGE THESE BEFORE GOING INTO PRODUCTION
############

POSTGRES_PASSWORD=hunter2
JWT_SECRET=\"your-super-secret-jwt-token-with-at-least-32-characters-long\"
ANON_KEY=eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.c2lnbmF0dXJl
DASHBOARD_USERNAME=supabase
DASHBOARD_PASSWORD='it is # not a remark'
export VAULT_ENC_KEY = your-encryption-key
# SMTP_PASS=the-old-one

POSTGRES_HOST=db
POSTGRES_DB=postgres
POSTGRES_PORT=5432
SITE_URL=http://localhost:3000
JWT_EXPIRY=3600
ENABLE_EMAIL_AUTOCONFIRM=false
PGRST_DB_SCHEMAS=public,storage,graphql_public
IMAGE=public.ecr.aws/supabase/postgres:15.8.1.060
DOCKER_SOCKET_LOCATION=/var/run/docker.sock
DATABASE=postgres://app:s3cr3t@db:5432/postgres?sslmode=disable # of the app
SENTRY=https://0a1b2c@sentry.example.org/2
S3_ID=0123456789abcdef0123456789abcdef
GREETING=Hello, this is a harmless sentence of many words
ORIGINAL_KEY=${POSTGRES_PASSWORD}
EMPTY_SECRET=
PEM=\"-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASC
-----END PRIVATE KEY-----\"
stray line without a sign\r
LAST_TOKEN=without a line end";

const GOLDEN: &str = "\
############
# Secrets
# YOU MUST CHANGE THESE BEFORE GOING INTO PRODUCTION
############

POSTGRES_PASSWORD=[R]
JWT_SECRET=\"[R]\"
ANON_KEY=[R]
DASHBOARD_USERNAME=supabase
DASHBOARD_PASSWORD='[R]'
export VAULT_ENC_KEY = [R]
# SMTP_PASS=[R]

POSTGRES_HOST=db
POSTGRES_DB=postgres
POSTGRES_PORT=5432
SITE_URL=http://localhost:3000
JWT_EXPIRY=3600
ENABLE_EMAIL_AUTOCONFIRM=false
PGRST_DB_SCHEMAS=public,storage,graphql_public
IMAGE=public.ecr.aws/supabase/postgres:15.8.1.060
DOCKER_SOCKET_LOCATION=/var/run/docker.sock
DATABASE=postgres://app:[R]@db:5432/postgres?sslmode=disable # of the app
SENTRY=https://[R]@sentry.example.org/2
S3_ID=[R]
GREETING=Hello, this is a harmless sentence of many words
ORIGINAL_KEY=${POSTGRES_PASSWORD}
EMPTY_SECRET=
PEM=\"[R]\"
[R]\r
LAST_TOKEN=[R]";

fn key(byte: u8) -> RedactionKey {
    Secret::new([byte; 32])
}

fn redacted(text: &str, key: &RedactionKey) -> String {
    String::from_utf8(redact(text.as_bytes(), key).text).expect("it was UTF-8")
}

/// With `[R]` for every hash.
fn without_hashes(text: &str) -> String {
    let mut parts = text.split("[redacted sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| {
        let (hash, rest) = part.split_once(']').expect("a hash has an end");
        assert!(hash.len() == SHOWN_DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        format!("{out}[R]{rest}")
    })
}

#[test]
fn keeps_keys_remarks_and_what_is_harmless() {
    assert_eq!(without_hashes(&redacted(ENV, &key(1))), GOLDEN);
}

#[test]
fn no_secret_is_left_in_what_is_kept() {
    let done = redact(ENV.as_bytes(), &key(1));
    assert_eq!(done.found.len(), GOLDEN.matches("[R]").count());
    for secret in &done.found {
        let value = secret.value.expose();
        assert!(memchr::memmem::find(&done.text, value).is_none(), "{}", String::from_utf8_lossy(value));
    }
    for piece in ["hunter2", "MIIEvQ", "s3cr3t", "0a1b2c", "the-old-one", "stray"] {
        assert!(memchr::memmem::find(&done.text, piece.as_bytes()).is_none(), "{piece}");
    }
}

#[test]
fn a_change_is_seen_and_nothing_else_changes() {
    let before = redacted(ENV, &key(1));
    assert_eq!(redacted(ENV, &key(1)), before, "the same twice");
    let after = redacted(&ENV.replace("hunter2", "hunter3"), &key(1));
    let differing: Vec<_> = before.lines().zip(after.lines()).filter(|(a, b)| a != b).collect();
    assert_eq!(differing.len(), 1, "{differing:?}");
    assert!(differing[0].0.starts_with("POSTGRES_PASSWORD="));
}

/// What RFC 2104 says of these, worked out with `openssl dgst -sha256 -mac HMAC`.
#[test]
fn the_hash_is_an_hmac_of_name_and_value() {
    assert_eq!(redacted("A_KEY=b", &key(0x0b)), format!("A_KEY=[redacted sha256:{HMAC_OF_A_KEY}]"));
}
const HMAC_OF_A_KEY: &str = "8a18bcfa0784";

#[test]
fn without_the_key_the_hash_cannot_be_tried_and_equal_values_do_not_show() {
    let line = "A_KEY=hunter2\nB_KEY=hunter2\n";
    let (one, other) = (redacted(line, &key(1)), redacted(line, &key(2)));
    assert!(one.lines().zip(other.lines()).all(|(one, other)| one != other));
    let hash = |line: &str| line.split_once(':').map(|(_, hash)| hash.to_owned());
    assert_ne!(one.lines().next().and_then(hash), one.lines().nth(1).and_then(hash));
}

#[test]
fn what_was_found_is_taken_out_of_other_texts_too() {
    let found = redact(ENV.as_bytes(), &key(1)).found;
    let compose =
        b"environment:\n  KEY: your-encryption-key\n  AGAIN: your-encryption-key\n  SHORT: hunter2\n";
    let (text, places) = scrub(compose.to_vec(), &found);
    let text = String::from_utf8(text).expect("it was UTF-8");
    assert_eq!(places, 2);
    assert_eq!(
        without_hashes(&text),
        "environment:\n  KEY: [R]\n  AGAIN: [R]\n  SHORT: hunter2\n",
        "what is too short would be found everywhere"
    );
}

#[test]
fn a_name_alone_makes_a_secret() {
    for name in
        ["PGPASSWORD", "smtp_pass", "OPENAI_API_KEY", "S3.SECRET", "GITHUB_TOKEN", "HOOK_WEBHOOK", "a-PSK"]
    {
        assert_eq!(without_hashes(&redacted(&format!("{name}=x1"), &key(1))), format!("{name}=[R]"));
    }
    for harmless in [
        "KEYCLOAK_HOST=id.example.org",
        "PASSWORD_MIN_LENGTH=8",
        "JWT_EXP=3600",
        "ENABLE_TOKENS=true",
        "REGION=us-east-1",
        "POOLER_TENANT_ID=your-tenant-id",
        "SMTP_SENDER_NAME=fake_sender",
        "A=b=c",
        "STUDIO=http://127.0.0.1:54323/project/default",
        "FUNCTIONS_VERIFY_JWT=false",
    ] {
        assert_eq!(redacted(harmless, &key(1)), harmless);
    }
    assert_eq!(without_hashes(&redacted("PASSWORD=12345", &key(1))), "PASSWORD=[R]", "a number may be one");
}

#[test]
fn an_open_quote_hides_what_follows_line_by_line() {
    let text = "A=\"open\nABCD1234efgh\nAbCdEf5678w=\nB=plain\nC=\n";
    assert_eq!(without_hashes(&redacted(text, &key(1))), "A=\"open\n[R]\n[R]\nB=plain\nC=\n");
}

proptest::proptest! {
    #[test]
    fn any_text_is_redacted_without_a_panic_and_the_value_of_a_password_never_stays(
        before in "[ -~\\n\"'#=]{0,60}", value in "[a-zA-Z0-9@:/#=+]{6,30}", after in "[ -~\\n\"'#=]{0,60}"
    ) {
        let before = before.replace(['"', '\''], "");
        let text = format!("{before}\nDB_PASSWORD={value}\n{after}");
        let out = redact(text.as_bytes(), &key(1)).text;
        let line = format!("DB_PASSWORD={value}");
        proptest::prop_assert!(memchr::memmem::find(&out, line.as_bytes()).is_none());
    }
}
