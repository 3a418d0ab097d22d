//! `[volumes]` and `[redis]`: what is kept beside the databases and the stack's own files.

use supakeep_flow::backup::VolumesSpec;
use supakeep_flow::redis::RedisSpec;
use supakeep_model::volume::VolumeMode;

use super::profiles::positive_duration;
use super::reader::{Reader, Section};

pub(super) fn volumes(reader: &mut Reader<'_>, top: &mut Section) -> Option<VolumesSpec> {
    let mut section = reader.section(top, "volumes");
    let names = reader.list(&mut section, "names", &[], ',');
    let mut wishes = Vec::new();
    for name in names {
        match name.parse() {
            Ok(wish) => wishes.push(wish),
            Err(message) => reader.complain(&section, "names", message),
        }
    }
    let mode = reader.parsed(&mut section, "mode", VolumeMode::Cold.as_str(), str::parse::<VolumeMode>);
    reader.no_others(&section);
    Some(VolumesSpec { wishes, mode: mode?, is_asked: false })
}

pub(super) fn redis(reader: &mut Reader<'_>, top: &mut Section) -> Option<RedisSpec> {
    let mut section = reader.section(top, "redis");
    let services = reader.list(&mut section, "services", &[], ',');
    let password = reader.secret(&mut section, "password", "password_file");
    let patience = reader.parsed(&mut section, "deadline", "30m", positive_duration);
    reader.no_others(&section);
    Some(RedisSpec { services, password, patience: patience?.unsigned_abs() })
}
