//! Values as `COPY … FROM STDIN` reads them.

use serde_json::value::RawValue;

/// Writes a field: `\N` is NULL, and what would end a field, a row or an escape is escaped.
pub(crate) fn copy_field(value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(mut rest) = value else {
        out.extend_from_slice(b"\\N");
        return;
    };
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r'));
        let (plain, marked) = rest.split_at(end.unwrap_or(rest.len()));
        out.extend_from_slice(plain);
        let Some((mark, after)) = marked.split_first() else { return };
        out.extend_from_slice(match mark {
            b'\\' => b"\\\\",
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            _ => b"\\r",
        });
        rest = after;
    }
}

/// Writes an array of JSON as one of PostgreSQL's: `{1,"a b",NULL,{…}}`. Every text is put in quotes, so that none passes
/// for NULL, a number or a brace. What is an object, such as JSON in an array, is text to it.
pub(super) fn array(json: &RawValue, out: &mut String) -> Result<(), serde_json::Error> {
    let items: Vec<&RawValue> = serde_json::from_str(json.get())?;
    out.push('{');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match item.get().as_bytes().first() {
            Some(b'[') => array(item, out)?,
            Some(b'"') => quote(&serde_json::from_str::<String>(item.get())?, out),
            Some(b'{') => quote(item.get(), out),
            Some(b'n') => out.push_str("NULL"),
            _ => out.push_str(item.get()),
        }
    }
    out.push('}');
    Ok(())
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> String {
        let raw: &RawValue = serde_json::from_str(json).expect("JSON");
        let mut out = String::new();
        array(raw, &mut out).expect("an array");
        out
    }

    #[test]
    fn an_array_keeps_null_apart_from_what_looks_like_it() {
        assert_eq!(of("[]"), "{}");
        assert_eq!(of("[1, -2.50, true, null]"), "{1,-2.50,true,NULL}");
        assert_eq!(
            of(r#"["NULL", "", "a,b", "c\"d", "e\\f", "{}", "x\ny"]"#),
            "{\"NULL\",\"\",\"a,b\",\"c\\\"d\",\"e\\\\f\",\"{}\",\"x\ny\"}"
        );
        assert_eq!(of("[[1,2],[3,null]]"), "{{1,2},{3,NULL}}");
        assert_eq!(of(r#"[{"a": "b"}]"#), r#"{"{\"a\": \"b\"}"}"#);
    }

    #[test]
    fn a_field_ends_nowhere_but_at_its_end() {
        let of = |value: Option<&[u8]>| {
            let mut out = Vec::new();
            copy_field(value, &mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(of(None), "\\N");
        assert_eq!(of(Some(b"\\N")), "\\\\N");
        assert_eq!(of(Some(b"a\tb\nc\rd\\.")), "a\\tb\\nc\\rd\\\\.");
        assert_eq!(of(Some(b"")), "");
    }
}
