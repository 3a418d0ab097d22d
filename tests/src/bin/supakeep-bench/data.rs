//! The stack with the data in it.

use supakeep_tests::{Pg, Stack};

/// A stack of its own, loaded with `tests/bench/data.sql`.
pub(crate) fn loaded(pg: Pg, rows: u32, vectors: u32) -> Stack {
    eprintln!("bench: loading {rows} messages and {vectors} embeddings into PostgreSQL {}", pg.major());
    let stack = Stack::private(pg, &["db"]);
    // Debian's 15 has no pgvector; the numbers are as long in an array.
    let (column, cast) = match pg {
        Pg::V15 => ("text", "text"),
        Pg::V17 => ("vector(384)", "vector(384)"),
    };
    let head = format!(
        "\\set rows {rows}\n\\set vectors {vectors}\n\\set vector_type '{column}'\n\\set vector_cast '{cast}'\n"
    );
    stack.sql(&(head + include_str!("../../../bench/data.sql")));
    stack
}
