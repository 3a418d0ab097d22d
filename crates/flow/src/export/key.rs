//! Hashes in place of values: the same value has the same hash in every export of a stack, so rows can still be joined and
//! counted by it, and nobody who has an export can try values against it.
//!
//! A plain hash of an e-mail address is the address to whoever has a list of addresses, and a salt that lies in the export
//! changes nothing about it. So it is an HMAC with a key that is in no export and no backup: it is made from the 32 random
//! bytes that lie beside them in the repository (`.redaction.key`), which never leave supakeep: the server sends values, and
//! what is hashed is hashed here. Who can read the key is on the machine, as supakeep's user or as root, and can ask the
//! database.
//!
//! What a hash does tell is that two values are equal. Where there are few (a country, a truth value) their frequency tells
//! more: such columns are better left out.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use supakeep_model::export::HashRecord;
use supakeep_model::secret::Secret;

use crate::redact::RedactionKey;

/// What the key of exports is derived with, so that it is nobody else's.
const PURPOSE: &[u8] = b"supakeep export columns, 1";
/// What tells whether two exports have the same key.
const IDENTITY: &[u8] = b"supakeep export columns, identity";
/// Hexadecimal digits of it that are shown.
const SHOWN_DIGITS: usize = 12;

/// What columns are hashed with.
#[derive(Clone)]
pub(super) struct HashKey(Secret<[u8; 32]>);

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

impl HashKey {
    pub(super) fn of(key: &RedactionKey) -> HashKey {
        let mut derived = mac(key.expose());
        derived.update(PURPOSE);
        HashKey(Secret::new(derived.finalize().into_bytes().into()))
    }

    /// A hash that is about to be made of a value.
    pub(super) fn begin(&self) -> Hmac<Sha256> {
        mac(self.0.expose())
    }

    pub(super) fn record(&self) -> HashRecord {
        let mut identity = self.begin();
        identity.update(IDENTITY);
        let mut key_id = hex::encode(identity.finalize().into_bytes());
        key_id.truncate(SHOWN_DIGITS);
        HashRecord { algorithm: "hmac-sha256".to_owned(), key_id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: [u8; 32], value: &[u8]) -> String {
        let mut hash = HashKey::of(&Secret::new(key)).begin();
        hash.update(value);
        hex::encode(hash.finalize().into_bytes())
    }

    #[test]
    fn the_same_value_has_the_same_hash_with_the_same_key_alone() {
        assert_eq!(hash([7; 32], b"a@example.org"), hash([7; 32], b"a@example.org"));
        assert_ne!(hash([7; 32], b"a@example.org"), hash([7; 32], b"b@example.org"));
        assert_ne!(hash([7; 32], b"a@example.org"), hash([8; 32], b"a@example.org"));
    }

    /// Exports of different versions are compared by their hashes: they never change.
    #[test]
    fn it_is_the_same_for_ever() {
        let known = "6492aa9d612c691ac364b11ccb85d93e07877e9db31d724a58414e5f5cfa63cd";
        assert_eq!(hash([7; 32], b"a@example.org"), known);
        assert_eq!(HashKey::of(&Secret::new([7; 32])).record().key_id, "6cadb0654a14");
    }

    #[test]
    fn it_is_none_that_can_be_tried_without_the_key() {
        use sha2::Digest as _;
        let value = b"a@example.org";
        let keyed = hash([0; 32], value);
        assert_ne!(keyed, hex::encode(Sha256::digest(value)));
        assert_ne!(keyed, hex::encode(mac(&[0; 32]).chain_update(value).finalize().into_bytes()));
        let record = HashKey::of(&Secret::new([0; 32])).record();
        assert_ne!(record, HashKey::of(&Secret::new([1; 32])).record());
        assert_eq!((record.algorithm.as_str(), record.key_id.len()), ("hmac-sha256", SHOWN_DIGITS));
    }
}
