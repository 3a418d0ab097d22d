//! The lines of an environment file, as compose reads them.
//!
//! Every byte of the text is in exactly one piece of one line, so that whatever is not redacted comes out
//! as it was.

/// A line, or several where a quoted value spans them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A remark, with its `#`.
    Comment {
        /// All of it.
        text: &'a [u8],
    },
    /// `KEY=value`, also one that is commented out: what was a password once may be one elsewhere.
    Assignment {
        /// Blanks, `#` and `export` before the name.
        before: &'a [u8],
        name: &'a [u8],
        /// `=` or `:` and the blanks around it.
        separator: &'a [u8],
        /// The value without its quotes.
        value: &'a [u8],
        quote: Option<u8>,
        /// What follows the closing quote.
        after: &'a [u8],
    },
    /// What is none of these.
    Unclear {
        /// All of it.
        text: &'a [u8],
    },
    /// Blanks and the line end.
    End {
        /// All of it.
        text: &'a [u8],
    },
}

/// Splits a text into lines.
pub(super) fn split(text: &[u8]) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = next(rest);
        lines.extend(line);
        let end = after.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        let (end, after) = after.split_at(end.unwrap_or(after.len()));
        if !end.is_empty() {
            lines.push(Line::End { text: end });
        }
        rest = after;
    }
    lines
}

/// The first line of `text`, if it has anything in it, and what follows.
fn next(text: &[u8]) -> (Option<Line<'_>>, &[u8]) {
    let content = end_of_line(text);
    if content == 0 {
        return (None, text);
    }
    if let Some((line, length)) = assignment(text) {
        return (Some(line), &text[length..]);
    }
    let (line, rest) = text.split_at(content);
    let line =
        if line.starts_with(b"#") { Line::Comment { text: line } } else { Line::Unclear { text: line } };
    (Some(line), rest)
}

/// Where the line ends, blanks at its end not counted.
fn end_of_line(text: &[u8]) -> usize {
    let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
    text[..end].trim_ascii_end().len()
}

fn skip(text: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> usize {
    from + text[from..].iter().take_while(|byte| wanted(**byte)).count()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn assignment(text: &[u8]) -> Option<(Line<'_>, usize)> {
    let begin = skip(text, 0, |byte| is_blank(byte) || byte == b'#');
    let begin = match text[begin..].strip_prefix(b"export") {
        Some(rest) if rest.first().is_some_and(|byte| is_blank(*byte)) => {
            skip(text, begin + b"export".len(), is_blank)
        }
        _ => begin,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let name_end = skip(text, begin, is_name);
    let sign = skip(text, name_end, is_blank);
    let separator_is_there = match text.get(sign) {
        Some(b'=') => true,
        // `KEY: value`; in a remark it is an English sentence.
        Some(b':') => !text.starts_with(b"#") && text.get(sign + 1).is_none_or(u8::is_ascii_whitespace),
        _ => false,
    };
    if name_end == begin || !separator_is_there || is_base64(&text[begin..end_of_line(text)]) {
        return None;
    }
    let value_begin = skip(text, sign + 1, is_blank);
    let (before, name, separator) = (&text[..begin], &text[begin..name_end], &text[name_end..value_begin]);
    let of = |value, quote, after| Line::Assignment { before, name, separator, value, quote, after };
    let rest = &text[value_begin..];
    if let Some((value, length)) = quoted(rest) {
        let end = value_begin + length;
        let after_end = end + end_of_line(&text[end..]);
        return Some((of(value, rest.first().copied(), &text[end..after_end]), after_end));
    }
    // The blank before it is what makes a `#` a remark, for compose; for `docker run --env-file` it is
    // part of the value. Here it is.
    let end = value_begin + end_of_line(rest);
    Some((of(&text[value_begin..end], None, &[]), end))
}

/// The last line of something in base64 has a `=` in it too; what is before that is no name.
fn is_base64(line: &[u8]) -> bool {
    let is_filled = line.strip_suffix(b"==").or_else(|| line.strip_suffix(b"=")).is_some_and(|rest| {
        rest.iter().all(u8::is_ascii_alphanumeric) && rest.iter().any(u8::is_ascii_lowercase)
    });
    is_filled && line.len().is_multiple_of(4)
}

/// A value in quotes, which may span lines, and how long it is with them.
fn quoted(text: &[u8]) -> Option<(&[u8], usize)> {
    let quote = *text.first().filter(|byte| matches!(byte, b'"' | b'\''))?;
    let mut at = 1;
    loop {
        match *text.get(at)? {
            byte if byte == quote => return Some((&text[1..at], at + 1)),
            b'\\' if quote == b'"' => at += 2,
            _ => at += 1,
        }
    }
}
