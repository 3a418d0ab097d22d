//! A question to the person at the terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use supakeep_model::code::Code;
use tokio::sync::oneshot;

use super::Context;
use crate::failure::CommandError;

/// Asks, and returns the line that is typed. SIGINT and SIGTERM end the command: a thread of its own
/// waits for the line, since nothing can end the reading of a terminal. `doing` is told where there is
/// no terminal; `untouched` where there is no answer.
pub(super) async fn ask(
    context: &Context,
    doing: &str,
    prompt: &str,
    untouched: &str,
) -> Result<String, CommandError> {
    if !io::stdin().is_terminal() {
        let message = format!("{doing} asks for confirmation, and there is no terminal to ask on: add --yes");
        return Err(CommandError::new(Code::UsageInvalid, message));
    }
    let _ = write!(io::stderr(), "{prompt}");
    let (reply, answer) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = io::stdin().lock().read_line(&mut line);
        let _ = reply.send(line.trim().to_owned());
    });
    tokio::select! {
        line = answer => Ok(line.unwrap_or_default()),
        () = context.cancel.cancelled() => {
            let _ = writeln!(io::stderr());
            Err(CommandError::new(Code::Cancelled, untouched))
        }
    }
}
