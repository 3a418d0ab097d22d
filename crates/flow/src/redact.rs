//! An environment file without its secrets: what can be kept in a backup that is not encrypted.
//!
//! Comments, keys, and values that are harmless stay, so that the copy tells how a stack was configured.
//! What a rule takes for a secret becomes `[redacted sha256:…]`. Where in doubt, it is one: a copy that
//! lacks a harmless value is a nuisance, one that has a password is a leak.
//!
//! # Why the hash tells nobody the value
//!
//! It is there so that a change is seen. A plain hash, also a salted one, could be tried against a list of
//! passwords by whoever has the backup. So it is an HMAC whose key is 32 random bytes that belong to the
//! repository, and are no part of any backup: a copy of a backup, wherever it goes, does not have it, and
//! without it there is nothing to try against. Who can read the key is on the machine, as supakeep's user
//! or as root, and so is `.env` itself. The name of the key is hashed along: that two values are equal is
//! not told. Of 256 bits 48 are shown, enough to see a change.

mod line;
mod rules;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use supakeep_model::secret::Secret;

use line::{Line, split};

/// Hexadecimal digits of a hash that are shown.
const SHOWN_DIGITS: usize = 12;
/// A shorter value is not looked for in other files: it would be found everywhere.
const SHORTEST_TO_LOOK_FOR: usize = 8;

/// What the hashes are made with.
pub type RedactionKey = Secret<[u8; 32]>;

/// An environment file whose secrets are taken out.
pub struct Redacted {
    /// What can be kept.
    pub text: Vec<u8>,
    /// What was taken out.
    pub found: Vec<FoundSecret>,
}

/// A value that was taken out.
#[derive(Clone)]
pub struct FoundSecret {
    /// The value.
    pub value: Secret<Vec<u8>>,
    /// What stands in its place.
    pub shown: String,
}

/// Takes the secrets out of the text of an environment file.
pub fn redact(text: &[u8], key: &RedactionKey) -> Redacted {
    let mut redactor = Redactor { key, out: Vec::with_capacity(text.len()), found: Vec::new() };
    for line in split(text) {
        redactor.line(&line);
    }
    Redacted { text: redactor.out, found: redactor.found }
}

/// Takes values out of another text that were found in an environment file. Returns how many places there
/// were.
pub fn scrub(text: Vec<u8>, secrets: &[FoundSecret]) -> (Vec<u8>, usize) {
    let mut longest_first: Vec<_> =
        secrets.iter().filter(|secret| secret.value.expose().len() >= SHORTEST_TO_LOOK_FOR).collect();
    // One may be a piece of another.
    longest_first.sort_by_key(|secret| std::cmp::Reverse(secret.value.expose().len()));
    let (mut text, mut places) = (text, 0);
    for secret in longest_first {
        let finder = memchr::memmem::Finder::new(secret.value.expose());
        let found: Vec<_> = finder.find_iter(&text).collect();
        if found.is_empty() {
            continue;
        }
        let mut next = Vec::with_capacity(text.len());
        let mut from = 0;
        for at in &found {
            next.extend_from_slice(&text[from..*at]);
            next.extend_from_slice(secret.shown.as_bytes());
            from = at + secret.value.expose().len();
        }
        next.extend_from_slice(&text[from..]);
        text = next;
        places += found.len();
    }
    (text, places)
}

struct Redactor<'a> {
    key: &'a RedactionKey,
    out: Vec<u8>,
    found: Vec<FoundSecret>,
}

impl Redactor<'_> {
    fn line(&mut self, line: &Line<'_>) {
        match *line {
            Line::Comment { text } => self.words(b"comment", text),
            Line::Assignment { before, name, separator, value, quote, after } => {
                self.out.extend_from_slice(before);
                self.out.extend_from_slice(name);
                self.out.extend_from_slice(separator);
                self.value(name, value, quote);
                self.words(name, after);
            }
            // Nobody knows what it is: a piece of a key that spans lines, perhaps.
            Line::Unclear { text } => self.hide(b"line", text),
            Line::End { text } => self.out.extend_from_slice(text),
        }
    }

    fn value(&mut self, name: &[u8], value: &[u8], quote: Option<u8>) {
        self.out.extend(quote);
        if rules::is_secret(name, value) {
            self.hide(name, value);
        } else {
            self.words(name, value);
        }
        self.out.extend(quote);
    }

    /// Text in which a word, or the credential of an address, may be a secret.
    fn words(&mut self, name: &[u8], text: &[u8]) {
        for (piece, is_secret) in rules::pieces(text) {
            if is_secret {
                self.hide(name, piece);
            } else {
                self.out.extend_from_slice(piece);
            }
        }
    }

    fn hide(&mut self, name: &[u8], value: &[u8]) {
        let shown = format!("[redacted sha256:{}]", self.hash(name, value));
        self.out.extend_from_slice(shown.as_bytes());
        self.found.push(FoundSecret { value: Secret::new(value.to_vec()), shown });
    }

    fn hash(&self, name: &[u8], value: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.expose()).expect("HMAC takes a key of any length");
        // A name has no zero byte, so no name and value are those of another pair.
        mac.update(name);
        mac.update(&[0]);
        mac.update(value);
        let mut shown = hex::encode(mac.finalize().into_bytes());
        shown.truncate(SHOWN_DIGITS);
        shown
    }
}

#[cfg(test)]
mod tests;
