//! `supakeep config`

use std::process::ExitCode;

use comfy_table::Cell;

use crate::config::Loaded;
use crate::output::{Output, Paint};
use crate::wire::build;

pub(crate) fn run(loaded: &Loaded, output: Output) -> ExitCode {
    let build = build();
    if output.json {
        output.json(&serde_json::json!({ "version": build.version, "revision": build.revision, "values": loaded.shown }));
        return ExitCode::SUCCESS;
    }
    let mut table = output.table(&["KEY", "VALUE", "FROM"]);
    for shown in &loaded.shown {
        let origin = if shown.origin == "default" {
            output.paint("default", Paint::Dim)
        } else {
            shown.origin.clone()
        };
        table.add_row(vec![Cell::new(&shown.key), Cell::new(&shown.value), Cell::new(origin)]);
    }
    output.print(&table);
    output.line(format!("\nsupakeep {} ({})", build.version, build.revision));
    ExitCode::SUCCESS
}
