//! `supakeep daemon`

use std::process::ExitCode;
use std::sync::Arc;

use supakeep_daemon::{Daemon, DaemonError, DaemonSpec, MakePorts};
use supakeep_flow::failure::Failure;
use supakeep_flow::ports::Repository;
use supakeep_model::code::Code;

use super::{Context, Outcome};
use crate::failure::CommandError;

pub(crate) async fn run(context: Context) -> Outcome {
    let Context { wire, cancel, .. } = context;
    let settings = &wire.settings;
    let spec = DaemonSpec {
        stack: wire.stack_name.clone(),
        profiles: settings.profiles.clone(),
        recipe: wire.recipe(),
        retention: wire.retention(),
        listen: settings.http.listen,
        token: settings.http.token.clone(),
        grace: settings.grace.unsigned_abs(),
    };
    let repository = Arc::clone(&wire.repository) as Arc<dyn Repository>;
    let daemon = Daemon::new(spec, repository, Arc::clone(&wire.clock));
    let observer = daemon.observer();
    let make_ports: MakePorts = Arc::new(move || {
        wire.ports(Arc::clone(&observer)).map_err(|error| Failure::new(error.code, error.message))
    });
    daemon.run(make_ports, cancel).await.map_err(explain)?;
    Ok(ExitCode::SUCCESS)
}

fn explain(error: DaemonError) -> CommandError {
    let code = match error {
        DaemonError::Listen(..) => Code::ConfigInvalid,
        DaemonError::Ticker(_) => Code::Internal,
    };
    CommandError::new(code, error.to_string())
}
