//! Imports: what is refused, what is saved first, and what a failure leaves, which is nothing.

use std::fs;
use std::path::{Path, PathBuf};

use supakeep_tests::{Keeper, Pg, Stack};

use super::{export, folder, ids, manifest, rows};

/// A shop with customers, to whom orders refer.
fn shop(stack: &Stack) {
    stack.sql(
        "CREATE TABLE public.customers (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, mail text);
         INSERT INTO public.customers (name, mail) SELECT 'name ' || n, 'mail-' || n FROM generate_series(1, 10) n;
         CREATE TABLE public.sold (id serial PRIMARY KEY, customer integer NOT NULL REFERENCES public.customers ON DELETE CASCADE,
             amount numeric(10, 2) CHECK (amount > 0), touched timestamptz NOT NULL DEFAULT '2020-01-01Z');
         INSERT INTO public.sold (customer, amount) SELECT 1 + n % 10, n FROM generate_series(1, 50) n;
         CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched = now(); RETURN NEW; END $$;
         CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON public.sold FOR EACH ROW EXECUTE FUNCTION public.touch();",
    );
}

fn text(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("room for a file");
    path
}

struct Shop {
    stack: Stack,
    keeper: Keeper,
    files: tempfile::TempDir,
}

impl Shop {
    fn open(pg: Pg) -> Shop {
        let stack = Stack::private(pg, &["db"]);
        shop(&stack);
        let keeper = Keeper::new(&stack);
        Shop { stack, keeper, files: tempfile::tempdir().expect("a temporary folder") }
    }

    /// Imports a file, which is refused; returns its words.
    #[track_caller]
    fn refused(&self, file: &Path, arguments: &[&str]) -> String {
        let before = (rows(&self.stack, "public.customers"), rows(&self.stack, "public.sold"));
        let path = file.display().to_string();
        let ended = self.keeper.run(&[&["import", "--file", &path, "--yes"], arguments].concat());
        assert_eq!(ended.code(), 1, "{}{}", ended.text(), ended.stderr);
        let after = (rows(&self.stack, "public.customers"), rows(&self.stack, "public.sold"));
        assert_eq!(after, before, "the table is not as it was");
        ended.stderr
    }
}

#[test]
fn an_error_names_the_row_and_the_column_and_leaves_the_table_as_it_was() {
    for pg in Pg::ALL {
        let shop = Shop::open(pg);
        let file = |name: &str, content: &str| text(shop.files.path(), name, content);
        let good = r#"{"customer":1,"amount":5}"#;
        let sold = ["--table", "public.sold"];
        let said = shop.refused(
            &file("a.jsonl", &format!("{good}\n{good}\n{{\"customer\":1,\"amount\":\"much\"}}\n")),
            &sold,
        );
        assert!(
            said.contains("import-failed") && said.contains("row 3, column amount: invalid input syntax"),
            "{said}"
        );
        let said = shop.refused(&file("b.csv", "amount,customer\n1,1\n-1,1\n"), &sold);
        assert!(said.contains("row 2: new row for relation \"sold\" violates check constraint"), "{said}");
        let said =
            shop.refused(&file("c.jsonl", &format!("{good}\n{{\"customer\":99,\"amount\":5}}\n")), &sold);
        assert!(
            said.contains("sold_customer_fkey") && said.contains("rows that refer to nothing: 1"),
            "{said}"
        );
        let said = shop.refused(&file("d.jsonl", "{\"id\":7,\"customer\":1,\"amount\":5}\n"), &sold);
        assert!(said.contains("row 1: duplicate key value") && said.contains("Key (id)=(7)"), "{said}");
        let said = shop.refused(&file("e.jsonl", &format!("{good}\n{{\"customer\":1,\n")), &sold);
        assert!(said.contains("import-unfit") && said.contains("line 2: "), "{said}");
        let said = shop.refused(&file("f.csv", "customer,amount\n1,2,3\n"), &sold);
        assert!(said.contains("row 1: it has 3 values, the header has 2"), "{said}");
        let said =
            shop.refused(&file("g.jsonl", "{\"customer\":1,\"amount\":5,\"colour\":\"red\"}\n"), &sold);
        assert!(said.contains("public.sold has no column colour"), "{said}");
        let said = shop.refused(&file("h.jsonl", "{\"amount\":5}\n"), &sold);
        assert!(said.contains("column customer takes no NULL"), "{said}");
        let said = shop.refused(&file("i.jsonl", ""), &["--table", "public.nowhere"]);
        assert!(said.contains("there is no table public.nowhere"), "{said}");
        assert!(ids(&shop.keeper).is_empty());
        assert_eq!(shop.stack.supakeep_sessions(), 0);
    }
}

#[test]
fn a_damaged_file_is_refused_before_anything_is_touched() {
    let shop = Shop::open(Pg::V17);
    let id = export(&shop.keeper, &["--table", "public.sold"]);
    let path = folder(&shop.keeper, &id).join("public.sold.jsonl.zst");
    let whole = fs::read(&path).expect("a file");
    let before = rows(&shop.stack, "public.sold");
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x20;
        let cut = whole[..at].to_vec();
        for bytes in [damaged, cut] {
            fs::write(&path, bytes).expect("our own file");
            assert_eq!(shop.keeper.run(&["exports", &id, "--verify"]).code(), 5);
            let into = ["import", &id, "--table", "public.sold", "--mode", "replace", "--yes"];
            assert_eq!(shop.keeper.run(&into).code(), 5);
            let copied = path.display().to_string();
            let into = ["import", "--file", &copied, "--table", "public.sold", "--mode", "replace", "--yes"];
            assert_eq!(shop.keeper.run(&into).code(), 5, "the manifest beside a file counts too");
        }
    }
    fs::remove_file(&path).expect("our own file");
    assert_eq!(shop.keeper.run(&["exports", &id, "--verify"]).code(), 5);
    assert_eq!(rows(&shop.stack, "public.sold"), before);
    fs::write(&path, whole).expect("our own file");
    shop.keeper.run(&["exports", &id, "--verify"]).ok();
}

#[test]
fn nothing_is_imported_without_being_asked_for_twice() {
    let shop = Shop::open(Pg::V15);
    let id = export(&shop.keeper, &["--table", "public.sold"]);
    let before = rows(&shop.stack, "public.sold");
    let into = ["import", &id, "--table", "public.sold", "--mode", "replace"];
    let asked = shop.keeper.run(&into);
    assert_eq!(asked.code(), 2, "{}", asked.stderr);
    assert!(asked.stderr.contains("add --yes"), "{}", asked.stderr);
    let plan = shop.keeper.run(&[&["--json"], into.as_slice(), &["--dry-run"]].concat()).ok().json();
    assert_eq!((plan["rows"].as_u64(), plan["mode"].as_str()), (Some(50), Some("replace")));
    assert_eq!(plan["saved_first"][0], "public.sold");
    assert_eq!((rows(&shop.stack, "public.sold"), ids(&shop.keeper)), (before, vec![id]));
}

#[test]
fn replace_saves_what_is_there_and_no_trigger_changes_a_row() {
    for pg in Pg::ALL {
        let shop = Shop::open(pg);
        let (stack, keeper) = (&shop.stack, &shop.keeper);
        let id = export(keeper, &["--table", "public.sold", "--table", "public.customers"]);
        let before = rows(stack, "public.sold");
        stack.sql("DELETE FROM public.sold WHERE id > 20; INSERT INTO public.sold (customer, amount) VALUES (1, 1000)");
        let changed = rows(stack, "public.sold");
        let said = keeper.run(&["import", &id, "--table", "public.sold", "--mode", "replace", "--yes"]).ok();
        assert_eq!(rows(stack, "public.sold"), before, "touched is as it was");
        // The way back that it names.
        let saved = ids(keeper).into_iter().find(|id| id.starts_with("pre-import_")).expect("it was saved");
        assert!(
            said.text().contains(&format!("import {saved} --table public.sold --mode replace")),
            "{}",
            said.text()
        );
        keeper
            .run(&[
                "import",
                &saved,
                "--table",
                "public.sold",
                "--mode",
                "replace",
                "--no-safety-backup",
                "--yes",
            ])
            .ok();
        assert_eq!(rows(stack, "public.sold"), changed);
        // The trigger is as it was.
        stack.sql("INSERT INTO public.sold (customer, amount) VALUES (1, 77)");
        assert_eq!(stack.sql("SELECT touched > '2021-01-01Z' FROM public.sold WHERE amount = 77"), "t");
    }
}

#[test]
fn a_table_that_others_refer_to_is_replaced_and_their_rows_stay() {
    let shop = Shop::open(Pg::V17);
    let (stack, keeper) = (&shop.stack, &shop.keeper);
    let id = export(keeper, &["--table", "public.customers"]);
    let (customers, sold) = (rows(stack, "public.customers"), rows(stack, "public.sold"));
    stack.sql("UPDATE public.customers SET name = 'changed'");
    let into = ["import", &id, "--table", "public.customers", "--mode", "replace", "--yes"];
    keeper.run(&into).ok();
    assert_eq!((rows(stack, "public.customers"), rows(stack, "public.sold")), (customers, sold.clone()));
    // A customer of whom orders are, and who is not in the file.
    stack.sql("INSERT INTO public.customers (name) VALUES ('new'); INSERT INTO public.sold (customer, amount) SELECT max(id), 5 FROM public.customers");
    let before = rows(stack, "public.sold");
    let refused = keeper.run(&into);
    assert_eq!(refused.code(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("rows that refer to nothing: 1"), "{}", refused.stderr);
    assert_eq!(
        (rows(stack, "public.sold"), stack.sql("SELECT count(*) FROM public.customers")),
        (before, "11".into())
    );
    keeper.run(&[into.as_slice(), &["--cascade"]].concat()).ok();
    assert_eq!(stack.sql("SELECT count(*) FROM public.sold"), "0", "ON DELETE CASCADE was asked for");
    let saved = ids(keeper).into_iter().rfind(|id| id.starts_with("pre-import_")).expect("it was saved");
    assert_eq!(manifest(keeper, &saved).tables.len(), 2, "what goes with it is saved too");
}

#[test]
fn upsert_changes_rows_by_their_key_and_sequences_move_on() {
    for pg in Pg::ALL {
        let shop = Shop::open(pg);
        let (stack, keeper) = (&shop.stack, &shop.keeper);
        let file =
            text(shop.files.path(), "customers.csv", "id,name,mail\n3,changed,\n500,\"new, one\",\"\"\n");
        let path = file.display().to_string();
        keeper
            .run(&["import", "--file", &path, "--table", "public.customers", "--mode", "upsert", "--yes"])
            .ok();
        let shown = stack.sql(
            "SELECT id, name, mail IS NULL, mail FROM public.customers WHERE id IN (3, 4, 500) ORDER BY id",
        );
        assert_eq!(shown, "3|changed|t|\n4|name 4|f|mail-4\n500|new, one|f|");
        assert_eq!(stack.sql("SELECT count(*) FROM public.customers"), "11");
        stack.sql("INSERT INTO public.customers (name) VALUES ('next')");
        assert_eq!(stack.sql("SELECT max(id) FROM public.customers"), "501", "the identity goes on after it");
        assert!(ids(keeper).iter().any(|id| id.starts_with("pre-import_")));
        // A row that is in the file twice is none of both.
        let twice =
            text(shop.files.path(), "twice.jsonl", "{\"id\":3,\"name\":\"a\"}\n{\"id\":3,\"name\":\"b\"}\n");
        let said = shop.refused(&twice, &["--table", "public.customers", "--mode", "upsert"]);
        assert!(said.contains("a second time"), "{said}");
    }
}

#[test]
fn what_was_hashed_or_left_out_comes_back_only_when_that_is_accepted() {
    let shop = Shop::open(Pg::V17);
    let (stack, keeper) = (&shop.stack, &shop.keeper);
    let hashed = export(keeper, &["--table", "public.customers", "--hash", "public.customers.mail"]);
    let less = export(keeper, &["--table", "public.customers", "--exclude", "public.customers.mail"]);
    let before = rows(stack, "public.customers");
    for (id, mode) in [(&hashed, "replace"), (&hashed, "append"), (&less, "replace")] {
        let into = ["import", id, "--table", "public.customers", "--mode", mode, "--yes"];
        let refused = keeper.run(&into);
        assert_eq!(refused.code(), 1, "{}", refused.stderr);
        assert!(
            refused.stderr.contains("mail") && refused.stderr.contains("--accept-loss"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(rows(stack, "public.customers"), before);
    stack.sql("UPDATE public.customers SET name = 'changed'");
    keeper.run(&["import", &less, "--table", "public.customers", "--mode", "upsert", "--yes"]).ok();
    assert_eq!(rows(stack, "public.customers"), before, "what is not in the file stays");
    keeper
        .run(&[
            "import",
            &hashed,
            "--table",
            "public.customers",
            "--mode",
            "replace",
            "--accept-loss",
            "--yes",
        ])
        .ok();
    assert_eq!(stack.sql("SELECT count(*) FROM public.customers WHERE length(mail) = 64"), "10");
}

#[test]
fn an_import_that_is_killed_or_told_to_stop_leaves_the_table_as_it_was() {
    let stack = Stack::private(Pg::V17, &["db"]);
    stack.sql(
        "CREATE TABLE public.big AS SELECT n, repeat('x', 300) AS filler FROM generate_series(1, 300000) n",
    );
    let keeper = Keeper::new(&stack);
    let id = export(&keeper, &["--table", "public.big"]);
    for signal in ["-KILL", "-TERM"] {
        let into =
            ["import", &id, "--table", "public.big", "--mode", "replace", "--no-safety-backup", "--yes"];
        let mut child = keeper.spawn(&into);
        let copying = || {
            let count =
                stack.sql("SELECT count(*) FROM pg_stat_progress_copy WHERE bytes_processed > 1000000");
            (count != "0").then_some(())
        };
        assert!(supakeep_tests::eventually(std::time::Duration::from_secs(30), copying).is_some());
        supakeep_tests::run(std::process::Command::new("kill").args([signal, &child.id().to_string()]), b"")
            .ok();
        child.wait().expect("it ends");
        let gone = || (stack.supakeep_sessions() == 0).then_some(());
        assert!(supakeep_tests::eventually(std::time::Duration::from_secs(20), gone).is_some(), "{signal}");
        assert_eq!(stack.sql("SELECT count(*) FROM public.big"), "300000", "{signal}");
    }
}
