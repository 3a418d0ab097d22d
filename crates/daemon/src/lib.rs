//! Supakeep as a service: schedules that start runs, and the places where one can see how they went.

mod daemon;
mod drills;
mod exports;
mod http;
mod left_stopped;
mod log;
mod metrics;
mod rounds;
mod status;
mod supervisor;
mod ticker;

pub use daemon::{Daemon, DaemonError, DaemonSpec, MakePorts};
pub use drills::{DrillsSpec, MakeDrillPorts, SamplesSpec, SpecifyDrill};
pub use exports::{ExportsSpec, MakeExportPorts, SpecifyExport};
pub use rounds::RoundsSpec;
pub use status::{RepositoryView, Status, StatusSpec};
