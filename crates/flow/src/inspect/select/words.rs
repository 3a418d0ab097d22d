//! The words of a statement.

use super::name::Name;

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    /// A keyword, a name without quotes, or a number.
    Bare(String),
    /// A name in quotes, which are undone.
    Quoted(String),
    /// A text in quotes; what it says is of no interest.
    Text,
    /// Anything else.
    Mark(char),
}

/// A statement, read from its beginning.
pub(super) struct Words {
    words: Vec<Word>,
    at: usize,
}

impl Words {
    pub(super) fn of(statement: &str) -> Words {
        let mut words = Vec::new();
        let mut rest = statement;
        while let Some(first) = rest.chars().next() {
            rest = match first {
                '"' => {
                    let (name, after) = until(&rest[1..], '"', false);
                    words.push(Word::Quoted(name));
                    after
                }
                '\'' => {
                    let escapes =
                        matches!(words.last(), Some(Word::Bare(word)) if word.eq_ignore_ascii_case("e"));
                    words.push(Word::Text);
                    until(&rest[1..], '\'', escapes).1
                }
                c if is_bare(c) => {
                    let end = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
                    words.push(Word::Bare(rest[..end].to_owned()));
                    &rest[end..]
                }
                c => {
                    if !c.is_whitespace() {
                        words.push(Word::Mark(c));
                    }
                    &rest[c.len_utf8()..]
                }
            };
        }
        Words { words, at: 0 }
    }

    /// Takes the keywords, all of them or none.
    pub(super) fn take(&mut self, keywords: &str) -> bool {
        let wanted = keywords.split(' ').count();
        let there = self.words[self.at..].iter().take(wanted);
        let fits = there.len() == wanted
            && there.zip(keywords.split(' ')).all(|(word, keyword)| *word == Word::Bare(keyword.to_owned()));
        self.at += if fits { wanted } else { 0 };
        fits
    }

    /// Takes everything up to the keywords, and these too, unless they are in parentheses.
    pub(super) fn skip_past(&mut self, keywords: &str) -> bool {
        let before = self.at;
        let mut depth = 0_u32;
        while self.at < self.words.len() {
            if depth == 0 && self.take(keywords) {
                return true;
            }
            match self.words[self.at] {
                Word::Mark('(') => depth += 1,
                Word::Mark(')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
        }
        self.at = before;
        false
    }

    /// Takes a name without a schema.
    pub(super) fn name(&mut self) -> Option<String> {
        let name = match self.words.get(self.at)? {
            Word::Bare(name) | Word::Quoted(name) => name.clone(),
            Word::Text | Word::Mark(_) => return None,
        };
        self.at += 1;
        Some(name)
    }

    /// Takes `schema.name`.
    pub(super) fn qualified(&mut self) -> Option<Name> {
        let schema = self.name()?;
        if self.words.get(self.at) != Some(&Word::Mark('.')) {
            return None;
        }
        self.at += 1;
        Some(Name::new(schema, self.name()?))
    }

    /// Takes `schema.name`, and an `ONLY` before it.
    pub(super) fn qualified_after_only(&mut self) -> Option<Name> {
        self.take("ONLY");
        self.qualified()
    }

    /// Takes an opening parenthesis.
    pub(super) fn take_open(&mut self) -> bool {
        let is_open = self.words.get(self.at) == Some(&Word::Mark('('));
        self.at += usize::from(is_open);
        is_open
    }

    /// Takes everything in parentheses that begins here.
    pub(super) fn skip_parentheses(&mut self) {
        let mut depth = 0_u32;
        while let Some(word) = self.words.get(self.at) {
            match word {
                Word::Mark('(') => depth += 1,
                Word::Mark(')') => depth = depth.saturating_sub(1),
                _ if depth == 0 => return,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }
}

fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// What is before the closing quote, doubled ones undone, and what is after it.
fn until(text: &str, quote: char, escapes: bool) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c != quote {
            out.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            out.push(quote);
        } else {
            return (out, &text[at + 1..]);
        }
    }
    (out, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_in_quotes_or_parentheses_are_none() {
        let mut words = Words::of(
            r#"CREATE TRIGGER " ON a.b" AFTER UPDATE OF "on", x ON public."t ""1""" WHEN (a ON b)"#,
        );
        assert!(words.take("CREATE TRIGGER") && !words.take("CREATE"));
        assert_eq!(words.name().as_deref(), Some(" ON a.b"));
        assert!(words.skip_past("ON"));
        assert_eq!(words.qualified(), Some(Name::new("public", "t \"1\"")));
        assert!(!words.skip_past("ON"));
    }

    #[test]
    fn texts_end_where_they_end() {
        let mut words = Words::of(r"A 'it''s ON x.y \' ON E'\' ON b.c' || E'\\' FROM s.t");
        assert!(words.skip_past("ON"));
        assert_eq!(words.qualified(), None);
        assert!(words.skip_past("FROM"));
        assert_eq!(words.qualified(), Some(Name::new("s", "t")));
    }
}
