//! What is taken for a secret.

/// In a key's name, wherever they stand.
const IN_NAMES: [&str; 14] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "PRIVATE",
    "WEBHOOK",
    "SIGNING",
    "ENCRYPTION",
    "APIKEY",
    "LICENSE",
    "BEARER",
    "COOKIE",
];
/// A word of a key's name, or the end of one.
const WORDS: [&str; 13] =
    ["KEY", "KEYS", "PASS", "PWD", "PW", "PIN", "SALT", "SEED", "DSN", "JWT", "JWKS", "CERT", "PSK"];
/// A measure of a secret is none: `JWT_EXPIRY=3600`.
const MEASURES: [&str; 17] = [
    "EXPIRY",
    "EXP",
    "LENGTH",
    "SECONDS",
    "TTL",
    "TIMEOUT",
    "LIFETIME",
    "ENABLED",
    "REQUIRED",
    "COUNT",
    "MIN",
    "MAX",
    "LIMIT",
    "INTERVAL",
    "PORT",
    "AUTOCONFIRM",
    "VERIFY",
];
/// A switch for something that has to do with secrets is none either.
const SWITCHES: [&str; 5] = ["ENABLE", "DISABLE", "USE", "ALLOW", "VERIFY"];
/// What well-known services begin their keys with.
const PREFIXES: [&str; 18] = [
    "eyJ",
    "sk_",
    "pk_",
    "rk_",
    "sk-",
    "ghp_",
    "gho_",
    "github_pat_",
    "glpat-",
    "xox",
    "AKIA",
    "ASIA",
    "SG.",
    "whsec_",
    "sbp_",
    "sb_secret_",
    "re_",
    "-----BEGIN",
];
/// A word that looks random and is shorter is no secret, or not to be told from a name.
const SHORTEST_RANDOM: usize = 16;
/// The same without a digit in it: names are longer.
const SHORTEST_RANDOM_LETTERS: usize = 20;
/// Bits for each character. English in one case has about 3 at this length, a hexadecimal number 3.3 and
/// more, base64 4 and more.
const BITS_WITH_DIGITS: f64 = 3.0;
const BITS_OF_LETTERS: f64 = 3.9;

/// Whether the value of `name` is a secret as a whole.
pub(super) fn is_secret(name: &[u8], value: &[u8]) -> bool {
    !value.is_empty() && (name_tells(name, value) || is_known_form(value))
}

fn name_tells(name: &[u8], value: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    let words: Vec<_> = name.split(['_', '-', '.']).collect();
    let has_word = |wanted: &&str| words.iter().any(|word| word.ends_with(*wanted));
    let tells = IN_NAMES.iter().any(|part| name.contains(part)) || WORDS.iter().any(has_word);
    tells && !is_measure(&words, value) && !is_address_of_another(value)
}

fn is_measure(words: &[&str], value: &[u8]) -> bool {
    let is_number = value.len() <= 10 && value.iter().all(u8::is_ascii_digit);
    let is_switch = [&b"true"[..], b"false", b"yes", b"no", b"on", b"off"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word));
    let is_measured = words.last().is_some_and(|word| MEASURES.contains(word));
    let is_switched = words.iter().any(|word| SWITCHES.contains(word));
    (is_measured && (is_number || is_switch)) || (is_switched && is_switch)
}

/// `${POSTGRES_PASSWORD}` stands for the value of another key, which is looked at by itself.
fn is_address_of_another(value: &[u8]) -> bool {
    let inner = value.strip_prefix(b"${").and_then(|rest| rest.strip_suffix(b"}"));
    let inner = inner.or_else(|| value.strip_prefix(b"$"));
    inner.is_some_and(|name| {
        !name.is_empty()
            && !name[0].is_ascii_digit()
            && name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
    })
}

fn is_known_form(text: &[u8]) -> bool {
    text.len() >= 12 && PREFIXES.iter().any(|prefix| text.starts_with(prefix.as_bytes()))
}

/// Cuts a text into pieces, each with whether it is a secret. All pieces together are the text.
pub(super) fn pieces(text: &[u8]) -> Vec<(&[u8], bool)> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((begin, end)) = credential(rest) {
        words(&rest[..begin], &mut out);
        out.push((&rest[begin..end], true));
        rest = &rest[end..];
    }
    words(rest, &mut out);
    out
}

/// The password in `scheme://user:password@host`, or all that is before the `@` where there is no `:`. Also
/// where the password has an `@` or `/` in it that somebody forgot to write as `%40`.
fn credential(text: &[u8]) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let begin = from + memchr::memmem::find(&text[from..], b"://")? + 3;
        let length = text[begin..]
            .iter()
            .position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b','))
            .unwrap_or(text.len() - begin);
        let address = &text[begin..begin + length];
        let at = memchr::memrchr(b'@', address).filter(|at| *at > 0);
        if let Some(at) = at {
            let colon = memchr::memchr(b':', &address[..at]).map_or(0, |colon| colon + 1);
            if colon < at {
                return Some((begin + colon, begin + at));
            }
        }
        from = begin + length;
    }
}

fn words<'a>(text: &'a [u8], out: &mut Vec<(&'a [u8], bool)>) {
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.iter().position(|byte| !is_of_word(*byte)).unwrap_or(rest.len());
        let (piece, after) = if word == 0 {
            let other = rest.iter().position(|byte| is_of_word(*byte)).unwrap_or(rest.len());
            rest.split_at(other)
        } else {
            rest.split_at(word)
        };
        let is_secret = word > 0 && (is_known_form(piece) || is_random(piece));
        out.push((piece, is_secret));
        rest = after;
    }
}

/// A slash is of base64, and of paths: paths are more.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'=' | b'.') || !byte.is_ascii()
}

fn is_random(word: &[u8]) -> bool {
    // Names of hosts, images and versions are short words with something between them.
    word.split(|byte| matches!(byte, b'.' | b'=')).any(|part| {
        let digits = part.iter().filter(|byte| byte.is_ascii_digit()).count();
        let has = |test: fn(&u8) -> bool| part.iter().any(test);
        let is_mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
        // One digit is that of `us-east-1` or `supabase-postgres-17`.
        (part.len() >= SHORTEST_RANDOM && digits >= 3 && bits_per_character(part) >= BITS_WITH_DIGITS)
            || (part.len() >= SHORTEST_RANDOM_LETTERS
                && is_mixed
                && bits_per_character(part) >= BITS_OF_LETTERS)
    })
}

/// Shannon's entropy of the characters.
fn bits_per_character(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    text.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let length = text.len() as f64;
    let share = |count: &u32| f64::from(*count) / length;
    counts.iter().filter(|count| **count > 0).map(share).map(|share| -share * share.log2()).sum()
}
