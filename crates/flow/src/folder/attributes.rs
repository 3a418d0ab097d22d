//! What identifies the extended attributes of a file.

use crate::ports::Attributes;
use crate::stage::digest::Digest;

/// SHA-256 of names and values, each with its length before it; empty where there are none.
pub fn attributes_sha256(attributes: &Attributes) -> String {
    if attributes.is_empty() {
        return String::new();
    }
    let mut digest = Digest::default();
    for text in attributes.iter().flat_map(|(name, value)| [name, value]) {
        digest.push(&(text.len() as u64).to_be_bytes());
        digest.push(text);
    }
    digest.finish().sha256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_different_has_another_sum() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs =
                pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            attributes_sha256(&pairs.collect())
        };
        assert_eq!(of(&[]), "");
        let sums = [of(&[("ab", "c")]), of(&[("a", "bc")]), of(&[("ab", "")]), of(&[("ab", "c"), ("d", "")])];
        let distinct: std::collections::BTreeSet<_> = sums.iter().collect();
        assert_eq!(distinct.len(), sums.len());
    }
}
