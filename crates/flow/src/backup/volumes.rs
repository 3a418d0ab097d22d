//! Volumes and folders of the host in a backup: those that the configuration or a label names.

use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use supakeep_model::event::Phase;
use supakeep_model::naming::volume_file;
use supakeep_model::parts::{PartName, Parts, Wish};
use supakeep_model::volume::{VolumeMode, VolumeRecord, VolumeWish};

use super::draft::Draft;
use super::dump::Dumping;
use super::enter;
use super::files::Packing;
use crate::failure::Failure;
use crate::folder::order::{PackOrder, Selection};
use crate::kill_point::kill_point;
use crate::ports::{Access, Container, Containers, Place, Porter, Program, Service, Staging};
use crate::stopped::{start_again, stop_all, stoppable, tell};

/// How archives of volumes are compressed.
const COMPRESSION: Compression = Compression::Zstd(3);

/// Which volumes are kept, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumesSpec {
    /// Them; what containers' labels name comes on top.
    pub wishes: Vec<VolumeWish>,
    /// How, where nothing else is said.
    pub mode: VolumeMode,
    /// Whether they are wanted whatever the parts of the backup are.
    pub is_asked: bool,
}

impl VolumesSpec {
    /// Whether a backup of these parts holds volumes.
    pub fn is_wanted(&self, parts: &Parts) -> bool {
        self.is_asked || parts.wish(PartName::Volumes) != Wish::No
    }
}

/// A volume that will be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedVolume {
    /// The engine's name of it, or its path.
    pub name: String,
    /// How.
    pub mode: VolumeMode,
    pub(crate) place: Place,
}

/// What a backup does with volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumesPlan {
    /// Those that are packed, cold ones first.
    pub volumes: Vec<PlannedVolume>,
    /// Those that are stopped while the cold ones are packed.
    pub stops: Vec<Service>,
    /// What is run before, and in which container.
    before: Vec<(Service, String)>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Finds out which volumes a backup will hold. What is named and not there, or not fit, is a failure.
pub async fn plan_volumes(spec: &VolumesSpec, containers: &dyn Containers) -> Result<VolumesPlan, Failure> {
    let all = containers.containers().await?;
    let mut plan = VolumesPlan::default();
    for wish in wishes(spec, &all)? {
        let place = find(&wish, &all, containers).await?;
        let mode = wish.mode.unwrap_or(spec.mode);
        plan.add(place, mode, &all)?;
    }
    if plan.volumes.is_empty() {
        let message = "no volume is named, neither in volumes.names nor by a label supakeep.volume";
        return Err(Failure::new(Code::VolumeUnfit, message));
    }
    if plan.volumes.iter().any(|volume| volume.mode == VolumeMode::Cold) {
        plan.stop_labelled(&all);
    }
    let commands = all.iter().filter(|one| one.belongs && one.service.is_running);
    plan.before =
        commands.filter_map(|one| Some((one.service.clone(), one.labels.exec_before.clone()?))).collect();
    plan.volumes.sort_by_key(|volume| volume.mode == VolumeMode::Hot);
    Ok(plan)
}

/// What the configuration and labels name, each once; the configuration's word counts.
fn wishes(spec: &VolumesSpec, all: &[Container]) -> Result<Vec<VolumeWish>, Failure> {
    let mut out = spec.wishes.clone();
    for container in all.iter().filter(|container| container.belongs) {
        for text in &container.labels.volumes {
            let wish: VolumeWish = text.parse().map_err(|message| {
                let name = &container.service.name;
                Failure::new(Code::VolumeUnfit, format!("the label supakeep.volume of {name}: {message}"))
            })?;
            if !out.iter().any(|known| known.name == wish.name) {
                out.push(wish);
            }
        }
    }
    Ok(out)
}

async fn find(wish: &VolumeWish, all: &[Container], containers: &dyn Containers) -> Result<Place, Failure> {
    if wish.name.starts_with('/') {
        let place = Place::Host(wish.name.clone());
        if users(&place, all).is_empty() {
            let message = format!("no container of the stack has {} mounted", wish.name);
            return Err(Failure::new(Code::VolumeUnfit, message));
        }
        return Ok(place);
    }
    let found = containers.find_volume(&wish.name).await?;
    found
        .map(Place::Volume)
        .ok_or_else(|| Failure::new(Code::VolumeUnfit, format!("there is no volume {}", wish.name)))
}

/// The containers of the stack that have a place mounted, or what is above or below it.
pub(crate) fn users<'a>(place: &Place, all: &'a [Container]) -> Vec<&'a Container> {
    let uses = |container: &&Container| container.mounts.iter().any(|mount| overlaps(&mount.place, place));
    all.iter().filter(|container| container.belongs).filter(uses).collect()
}

/// A running server's files are no backup, and never to be overwritten.
pub(crate) fn refuse_data(place: &Place, all: &[Container]) -> Result<(), Failure> {
    let holds_data = |container: &Container| {
        container.mounts.iter().any(|mount| mount.is_data && overlaps(&mount.place, place))
    };
    match all.iter().find(|container| holds_data(container)) {
        None => Ok(()),
        Some(container) => Err(Failure::new(
            Code::VolumeUnfit,
            format!(
                "{place} holds the data of the database server {}: a running server's files are no backup, its databases are dumped",
                container.service.name
            ),
        )),
    }
}

fn overlaps(one: &Place, other: &Place) -> bool {
    match (one, other) {
        (Place::Host(one), Place::Host(other)) => is_within(one, other) || is_within(other, one),
        _ => one == other,
    }
}

fn is_within(inner: &str, outer: &str) -> bool {
    let outer = outer.trim_end_matches('/');
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The name of a volume, or the path.
pub(crate) fn name_of(place: &Place) -> String {
    match place {
        Place::Host(name) | Place::Volume(name) => name.clone(),
        Place::Here(path) => path.display().to_string(),
    }
}

impl VolumesPlan {
    fn add(&mut self, place: Place, mode: VolumeMode, all: &[Container]) -> Result<(), Failure> {
        if self.volumes.iter().any(|known| known.place == place) {
            return Ok(());
        }
        refuse_data(&place, all)?;
        let strangers = all.iter().filter(|one| !one.belongs && one.service.is_running);
        for stranger in strangers.filter(|one| one.mounts.iter().any(|mount| overlaps(&mount.place, &place)))
        {
            self.notes.push(format!(
                "{place}: {} uses it too, is not of the stack, and was not stopped",
                stranger.service.name
            ));
        }
        if mode == VolumeMode::Cold {
            for user in users(&place, all) {
                if let Some(spared) = user.spared {
                    let message = format!(
                        "{place} is used by {}, which is never stopped: write {}:hot",
                        spared.as_str(),
                        name_of(&place)
                    );
                    return Err(Failure::new(Code::VolumeUnfit, message));
                }
                self.stop(&user.service);
            }
        }
        self.volumes.push(PlannedVolume { name: name_of(&place), mode, place });
        Ok(())
    }

    fn stop(&mut self, service: &Service) {
        if service.is_running && !self.stops.iter().any(|known| known.id == service.id) {
            self.stops.push(service.clone());
        }
    }

    fn stop_labelled(&mut self, all: &[Container]) {
        for container in all.iter().filter(|one| one.belongs && one.labels.stop_during_backup) {
            match container.spared {
                Some(spared) => self.notes.push(format!(
                    "{}: the label supakeep.stop-during-backup is passed over: it is {}",
                    container.service.name,
                    spared.as_str()
                )),
                None => self.stop(&container.service),
            }
        }
    }
}

impl Dumping<'_> {
    /// Packs the volumes of a plan. Those that were stopped run again when it comes back, also with an error; where it
    /// does not come back, `backup` starts them.
    pub(super) async fn volumes(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        plan: &VolumesPlan,
    ) -> Result<(), Failure> {
        if plan.volumes.is_empty() {
            return Ok(());
        }
        let (repository, containers) = (&*self.ports.repository, &*self.ports.containers);
        for (service, command) in &plan.before {
            let arguments = ["sh", "-c", command].map(str::to_owned);
            let program = Program { arguments: &arguments, password: None };
            let ran = containers.run(&stoppable(service), program).await;
            ran.map_err(|error| {
                let doing = format!("supakeep.exec-before of {}", service.name);
                Failure::new(Code::VolumeUnfit, error.message).while_doing(doing)
            })?;
        }
        // Before anything is stopped: bringing a porter takes its time.
        self.ports.porters.sweep().await?;
        let places: Vec<_> = plan.volumes.iter().map(|volume| volume.place.clone()).collect();
        let porter = self.ports.porters.open(&places, Access::Read).await?;
        let cold = plan.volumes.iter().filter(|volume| volume.mode == VolumeMode::Cold).count();
        if !plan.stops.is_empty() {
            let names: Vec<_> = plan.stops.iter().map(|service| service.name.as_str()).collect();
            enter(self.ports, &draft.head.id, Phase::StopServices, &names.join(", "), None);
            stop_all(draft.head.id.as_str(), &plan.stops, repository, containers).await?;
            kill_point("backup-volumes-stopped");
        }
        let (colds, hots) = plan.volumes.split_at(cold);
        self.pack_volumes(draft, staging, &*porter, (0, colds)).await?;
        if !plan.stops.is_empty() {
            enter(self.ports, &draft.head.id, Phase::StartServices, "", None);
            let started = start_again(repository, containers).await;
            if let Err(failure) = &started {
                draft.head.warnings.push(format!("not all that was stopped is well again: {failure}"));
            }
            tell(started, &*self.ports.observer);
            kill_point("backup-volumes-started");
        }
        self.pack_volumes(draft, staging, &*porter, (cold, hots)).await?;
        draft.head.parts.push(PartName::Volumes);
        Ok(porter.close().await?)
    }

    async fn pack_volumes(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        porter: &dyn Porter,
        (first, volumes): (usize, &[PlannedVolume]),
    ) -> Result<(), Failure> {
        for (at, volume) in volumes.iter().enumerate() {
            enter(self.ports, &draft.head.id, Phase::Files, &volume.name, None);
            let packing = Packing {
                porter,
                at: first + at,
                order: PackOrder::archive(Selection::Everything),
                fed: None,
                path: volume_file(&volume.name, COMPRESSION),
                part: Part::Volume,
                of: Some(volume.name.clone()),
                index: None,
                compression: COMPRESSION,
            };
            let packed = self.pack(draft, staging, packing).await?;
            draft
                .head
                .warnings
                .extend(packed.aside.notes.iter().map(|note| format!("{}: {note}", volume.name)));
            draft.head.volumes.push(VolumeRecord {
                name: volume.name.clone(),
                mode: volume.mode,
                files: packed.entries.files,
                bytes: packed.entries.bytes,
            });
        }
        Ok(())
    }
}
