//! `supakeep daemon`

use std::process::ExitCode;
use std::sync::Arc;

use supakeep_daemon::{Daemon, DaemonError, DaemonSpec, DrillsSpec, ExportsSpec, MakePorts, SamplesSpec};
use supakeep_flow::failure::Failure;
use supakeep_flow::ports::{Exports, Observer, Repository};
use supakeep_model::code::Code;

use super::{Context, Outcome};
use crate::failure::CommandError;
use crate::wire::Wire;

pub(crate) async fn run(context: Context) -> Outcome {
    let Context { wire, cancel, .. } = context;
    // An address that is none gets no better by waiting.
    wire.engine().map_err(|error| CommandError::new(Code::ConfigInvalid, error.message))?;
    let settings = &wire.settings;
    let spec = DaemonSpec {
        stack: wire.stack_name.clone(),
        profiles: settings.profiles.clone(),
        recipe: wire.recipe(),
        retention: wire.retention(),
        exports: settings.exports.clone(),
        listen: settings.http.listen,
        token: settings.http.token.clone(),
        grace: settings.grace.unsigned_abs(),
    };
    let repository = Arc::clone(&wire.repository) as Arc<dyn Repository>;
    let daemon = Daemon::new(spec, repository, Arc::clone(&wire.clock));
    let observer = daemon.observer();
    let wire = Arc::new(wire);
    let drills = drills(&wire, &observer);
    let exports = exports(&wire, &observer);
    let rounds = wire.settings.verify.rounds();
    let make_ports: MakePorts = Arc::new(move || {
        wire.ports(Arc::clone(&observer)).map_err(|error| Failure::new(error.code, error.message))
    });
    daemon
        .with_drills(drills)
        .with_rounds(rounds)
        .with_exports(exports)
        .run(make_ports, cancel)
        .await
        .map_err(explain)?;
    Ok(ExitCode::SUCCESS)
}

fn drills(wire: &Arc<Wire>, observer: &Arc<dyn Observer>) -> DrillsSpec {
    let (specifying, making, observer) = (Arc::clone(wire), Arc::clone(wire), Arc::clone(observer));
    let settings = &wire.settings.drill;
    let size = settings.sample;
    DrillsSpec {
        schedule: settings.schedule.clone(),
        samples: settings.sample_schedule.clone().map(|schedule| SamplesSpec { schedule, size }),
        specify: Arc::new(move |backup, sample| specifying.drill_spec(backup, sample)),
        make_ports: Arc::new(move || {
            let ports = making.drill_ports(Arc::clone(&observer));
            ports.map_err(|error| Failure::new(error.code, error.message))
        }),
    }
}

fn exports(wire: &Arc<Wire>, observer: &Arc<dyn Observer>) -> ExportsSpec {
    let (specifying, making, observer) = (Arc::clone(wire), Arc::clone(wire), Arc::clone(observer));
    ExportsSpec {
        exports: wire.settings.exports.clone(),
        shelf: Arc::clone(&wire.exports) as Arc<dyn Exports>,
        specify: Arc::new(move |export, plan| {
            let mut spec = specifying.export_spec(&export.name, export.rows.clone());
            spec.export = Some(export.name.clone());
            (spec.trigger, spec.slot, spec.deadline) = (plan.trigger, Some(plan.slot.at), export.deadline);
            spec
        }),
        make_ports: Arc::new(move || {
            let ports = making.export_ports(Arc::clone(&observer));
            ports.map_err(|error| Failure::new(error.code, error.message))
        }),
    }
}

fn explain(error: DaemonError) -> CommandError {
    let code = match error {
        DaemonError::Listen(..) => Code::ConfigInvalid,
        DaemonError::Ticker(_) => Code::Internal,
    };
    CommandError::new(code, error.to_string())
}
