//! Which table an entry belongs to, read from its statements.

use super::name::Name;
use super::words::Words;
use crate::inspect::sql::{sequence, statements};

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A table, or a sequence by itself.
    Relation(Name),
    /// Something with a name of its own that belongs to a table: an index, a constraint's index, the
    /// sequence of an identity column, statistics.
    Part {
        /// Its name.
        part: Name,
        /// The table.
        table: Name,
    },
    /// A sequence that goes with a table's column.
    OwnedBy {
        /// The sequence.
        sequence: Name,
        /// The table.
        table: Name,
    },
    /// A table is a partition of another.
    Partition {
        /// The partitioned table.
        parent: Name,
        /// The partition.
        child: Name,
    },
    /// An index is a partition of another.
    PartOfPart {
        /// The partitioned table's.
        parent: Name,
        /// The partition's.
        child: Name,
    },
    /// A foreign key.
    ForeignKey {
        /// The table that has it.
        table: Name,
        /// The table that its rows refer to.
        references: Name,
    },
}

/// What the statements of an entry are about; the first that tells.
pub(super) fn subject(kind: &str, text: &str) -> Option<Subject> {
    if kind == "SEQUENCE SET" {
        let call = text.trim_end().strip_prefix("SELECT pg_catalog.setval(")?;
        return Name::of_sql(&sequence(call)?.name).map(Subject::Relation);
    }
    statements(text)
        .iter()
        .find_map(|statement| of_statement(&mut Words::of(&String::from_utf8_lossy(statement))))
}

fn of_statement(words: &mut Words) -> Option<Subject> {
    let is_new = words.take("CREATE");
    if is_new {
        created(words)
    } else if words.take("ALTER") {
        altered(words)
    } else if words.take("COPY") || words.take("INSERT INTO") {
        words.qualified().map(Subject::Relation)
    } else if words.take("COMMENT") {
        commented(words)
    } else if words.take("SECURITY LABEL") {
        words.skip_past("ON");
        labelled(words)
    } else if words.take("GRANT") || words.take("REVOKE") {
        granted(words)
    } else {
        None
    }
}

fn created(words: &mut Words) -> Option<Subject> {
    for adjective in ["UNLOGGED", "FOREIGN", "UNIQUE", "CONSTRAINT", "OR REPLACE"] {
        words.take(adjective);
    }
    if words.take("TABLE") || words.take("SEQUENCE") {
        return words.qualified().map(Subject::Relation);
    }
    if words.take("INDEX") {
        let index = words.name()?;
        let table = words.take("ON").then(|| words.qualified_after_only())??;
        return Some(Subject::Part { part: Name::new(table.schema.clone(), index), table });
    }
    if words.take("TRIGGER") || words.take("POLICY") {
        words.name()?;
        return words.skip_past("ON").then(|| words.qualified())?.map(Subject::Relation);
    }
    if words.take("RULE") {
        words.name()?;
        return (words.skip_past("AS ON") && words.skip_past("TO"))
            .then(|| words.qualified())?
            .map(Subject::Relation);
    }
    if words.take("STATISTICS") {
        let part = words.qualified()?;
        return words
            .skip_past("FROM")
            .then(|| words.qualified())?
            .map(|table| Subject::Part { part, table });
    }
    None
}

fn altered(words: &mut Words) -> Option<Subject> {
    if words.take("TABLE") || words.take("FOREIGN TABLE") {
        let table = words.qualified_after_only()?;
        return Some(altered_table(words, table));
    }
    if words.take("SEQUENCE") {
        let sequence = words.qualified()?;
        return if words.take("OWNED BY") {
            Some(Subject::OwnedBy { sequence, table: words.qualified()? })
        } else {
            Some(Subject::Relation(sequence))
        };
    }
    if words.take("INDEX") {
        let parent = words.qualified()?;
        return words
            .take("ATTACH PARTITION")
            .then(|| words.qualified())?
            .map(|child| Subject::PartOfPart { parent, child });
    }
    if words.take("PUBLICATION") {
        words.name()?;
        return words.take("ADD TABLE").then(|| words.qualified_after_only())?.map(Subject::Relation);
    }
    None
}

fn altered_table(words: &mut Words, table: Name) -> Subject {
    if words.take("ATTACH PARTITION") {
        if let Some(child) = words.qualified() {
            return Subject::Partition { parent: table, child };
        }
    } else if words.take("ADD CONSTRAINT") {
        let constraint = words.name();
        if words.take("FOREIGN KEY") {
            words.skip_parentheses();
            if let (true, Some(references)) = (words.take("REFERENCES"), words.qualified()) {
                return Subject::ForeignKey { table, references };
            }
        } else if let Some(constraint) = constraint {
            return Subject::Part { part: Name::new(table.schema.clone(), constraint), table };
        }
    } else if words.take("ALTER COLUMN") {
        let column = words.name();
        if column.is_some()
            && words.take("ADD GENERATED")
            && words.skip_past("AS IDENTITY")
            && words.take_open()
            && words.skip_past("SEQUENCE NAME")
            && let Some(part) = words.qualified()
        {
            return Subject::Part { part, table };
        }
    }
    Subject::Relation(table)
}

fn commented(words: &mut Words) -> Option<Subject> {
    if !words.take("ON") {
        return None;
    }
    for named in ["CONSTRAINT", "TRIGGER", "POLICY", "RULE"] {
        if words.take(named) {
            words.name()?;
            return words.take("ON").then(|| words.qualified())?.map(Subject::Relation);
        }
    }
    labelled(words)
}

/// After the `ON` of a comment or label.
fn labelled(words: &mut Words) -> Option<Subject> {
    let is_relation = ["TABLE", "COLUMN", "SEQUENCE", "INDEX", "STATISTICS", "FOREIGN TABLE"]
        .iter()
        .any(|kind| words.take(kind));
    // `COLUMN schema.table.column` begins with the table.
    is_relation.then(|| words.qualified())?.map(Subject::Relation)
}

fn granted(words: &mut Words) -> Option<Subject> {
    if !words.skip_past("ON") {
        return None;
    }
    let is_relation = words.take("TABLE") || words.take("SEQUENCE");
    is_relation.then(|| words.qualified())?.map(Subject::Relation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        Name::new("public", name)
    }

    fn relation(table: &str) -> Option<Subject> {
        Some(Subject::Relation(name(table)))
    }

    fn part(part: &str, table: &str) -> Option<Subject> {
        Some(Subject::Part { part: name(part), table: name(table) })
    }

    fn of(text: &str) -> Option<Subject> {
        subject("", text)
    }

    #[test]
    fn finds_the_table_of_everything_a_table_has() {
        for text in [
            "CREATE TABLE public.t (id integer);",
            "CREATE UNLOGGED TABLE public.t (id integer, CONSTRAINT \"ON public.x\" CHECK (id > 0));",
            "COPY public.t (id, \"select\") FROM stdin;\n",
            "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT nextval('public.x_seq'::regclass);",
            "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;",
            "CREATE TRIGGER \"TRIGGER ON x\" BEFORE INSERT OR UPDATE OF a, \"ON\" ON public.t FOR EACH ROW EXECUTE FUNCTION a.b();",
            "CREATE CONSTRAINT TRIGGER c AFTER DELETE ON public.t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION a.b();",
            "CREATE RULE log_notes AS\n    ON DELETE TO public.t DO  INSERT INTO public.audit_log (what) VALUES (1);",
            "CREATE POLICY \"no \"\"late\"\" notes\" ON public.t AS RESTRICTIVE FOR INSERT TO x WITH CHECK ((a ON b));",
            "ALTER PUBLICATION supabase_realtime ADD TABLE ONLY public.t (id) WHERE (true);",
            "GRANT SELECT(id),UPDATE(\"x ON TABLE y\") ON TABLE public.t TO a WITH GRANT OPTION;",
            "SET SESSION AUTHORIZATION a;\nREVOKE ALL ON TABLE public.t FROM b;\nRESET SESSION AUTHORIZATION;",
            "COMMENT ON TABLE public.t IS 'COMMENT ON TABLE public.x IS';",
            "COMMENT ON COLUMN public.t.\"a.b\" IS 'x';",
            "COMMENT ON POLICY \"p ON x\" ON public.t IS 'x';",
            "SECURITY LABEL FOR p ON TABLE public.t IS 'x';",
            "ALTER TABLE public.t CLUSTER ON t_pkey;",
        ] {
            assert_eq!(of(text), relation("t"), "{text}");
        }
    }

    #[test]
    fn knows_what_has_a_name_of_its_own() {
        assert_eq!(of("CREATE UNIQUE INDEX i ON ONLY public.t USING btree (a);"), part("i", "t"));
        assert_eq!(
            of("ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (id);"),
            part("t_pkey", "t")
        );
        assert_eq!(
            of("CREATE STATISTICS public.s (mcv) ON a, EXTRACT(year FROM b), (c FROM d) FROM public.t;"),
            part("s", "t")
        );
        assert_eq!(
            of(
                "ALTER TABLE public.t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (\n    SEQUENCE NAME public.s\n    START WITH 100\n);"
            ),
            part("s", "t")
        );
        let (sequence, table) = (name("s"), name("t"));
        assert_eq!(
            of("ALTER SEQUENCE public.s OWNED BY public.t.id;"),
            Some(Subject::OwnedBy { sequence, table })
        );
        assert_eq!(
            subject("SEQUENCE SET", "SELECT pg_catalog.setval('public.\"o''clock\"', 5, true);\n"),
            relation("o'clock")
        );
        let (parent, child) = (name("a"), name("b"));
        assert_eq!(
            of("ALTER TABLE ONLY public.a ATTACH PARTITION public.b FOR VALUES IN ('x');"),
            Some(Subject::Partition { parent: parent.clone(), child: child.clone() })
        );
        assert_eq!(
            of("ALTER INDEX public.a ATTACH PARTITION public.b;"),
            Some(Subject::PartOfPart { parent, child })
        );
        assert_eq!(
            of(
                "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT \"REFERENCES\" FOREIGN KEY (\"a)\", b) REFERENCES public.r(id) ON DELETE CASCADE;"
            ),
            Some(Subject::ForeignKey { table: name("t"), references: name("r") })
        );
    }

    #[test]
    fn what_is_no_tables_is_nobodys() {
        for text in [
            "GRANT ALL ON FUNCTION public.t() TO a;",
            "COMMENT ON FUNCTION public.t() IS 'x';",
            "COMMENT ON CONSTRAINT c ON DOMAIN public.t IS 'x';",
            "ALTER DOMAIN public.t\n    ADD CONSTRAINT c CHECK (true);",
            "CREATE VIEW public.v AS SELECT 1;",
            "",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
