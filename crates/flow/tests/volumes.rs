//! Volumes in a backup: who is stopped for them, and that whoever was is always started again.

use supakeep_flow::backup::{BackupSpec, VolumesSpec, backup};
use supakeep_flow::ports::{Mounted, Place, Repository as _, Spared};
use supakeep_flow::restore::{plan_volumes, restore_volumes};
use supakeep_flow::stopped::settle;
use supakeep_model::code::Code;
use supakeep_model::journal::StoppedService;
use supakeep_model::manifest_head::{ManifestHead, Outcome};
use supakeep_model::parts::PartName;
use supakeep_model::volume::{STOPPED_FORMAT, StoppedContainers, VolumeMode};
use supakeep_testkit::{Fault, Operation, ScriptedContainers, ScriptedFolder, ScriptedPorters, Trial};

fn folder() -> ScriptedFolder {
    ScriptedFolder::default()
        .with("a/b.txt", "one")
        .attributed("a/b.txt", "user.kind", "text")
        .with(b"odd\xff", "two!")
        .linking("link", "/etc/passwd")
}

/// A stack whose `app` has a volume `uploads`, and whose `cache` has none.
fn trial() -> Trial {
    Trial {
        porters: ScriptedPorters::default().with_volume("uploads", folder()),
        containers: ScriptedContainers::default().with("app", &["uploads"]).with("cache", &[]),
        ..Trial::default()
    }
}

fn spec(trial: &Trial, wishes: &[&str]) -> BackupSpec {
    let wishes = wishes.iter().map(|wish| wish.parse().expect("a valid wish")).collect();
    let volumes = VolumesSpec { wishes, mode: VolumeMode::Cold, is_asked: true };
    BackupSpec { volumes, ..trial.spec() }
}

fn code(head: &ManifestHead) -> Option<Code> {
    head.error.as_ref().map(|error| error.code)
}

/// Nothing is stopped, and nothing is written down as stopped.
fn all_run(trial: &Trial) {
    assert_eq!(trial.containers.running(), ["app", "cache"]);
    assert_eq!(trial.memory.stopped().expect("it can be asked"), None);
    assert_eq!(trial.porters.open_ones(), 0);
}

#[tokio::test]
async fn a_cold_volume_is_packed_while_its_users_are_stopped() {
    let trial = trial();
    let head = trial.run(&spec(&trial, &["uploads"])).await;
    assert!(head.is_good(), "{:?}", head.error);
    assert_eq!(trial.containers.calls(), ["stop app", "start app"]);
    all_run(&trial);
    assert_eq!(head.parts, [PartName::Database, PartName::Volumes]);
    let [record] = head.volumes.as_slice() else { panic!("{:?}", head.volumes) };
    assert_eq!(
        (record.name.as_str(), record.mode, record.files, record.bytes),
        ("uploads", VolumeMode::Cold, 2, 7)
    );
    let manifest = trial.manifest(&head);
    let artifact = manifest.artifacts.last().expect("there are some");
    assert_eq!((artifact.path.as_str(), artifact.of.as_deref()), ("volume-uploads.tar.zst", Some("uploads")));
}

#[tokio::test]
async fn a_hot_one_stops_nobody() {
    let trial = trial();
    let head = trial.run(&spec(&trial, &["uploads:hot"])).await;
    assert!(head.is_good(), "{:?}", head.error);
    assert_eq!(trial.containers.calls(), [""; 0]);
    assert_eq!(head.volumes[0].mode, VolumeMode::Hot);
}

#[tokio::test]
async fn labels_name_volumes_and_say_what_is_done_before() {
    let containers = ScriptedContainers::default()
        .with("app", &["uploads"])
        .changed(|app| {
            app.labels.volumes = vec!["uploads".to_owned()];
            app.labels.exec_before = Some("flush".to_owned());
        })
        .with("cache", &[])
        .changed(|cache| cache.labels.stop_during_backup = true);
    let trial = Trial { containers, ..trial() };
    let head = trial.run(&spec(&trial, &[])).await;
    assert!(head.is_good(), "{:?}", head.error);
    let mut calls = trial.containers.calls();
    calls[1..].sort();
    assert_eq!(calls, ["run app", "start app", "start cache", "stop app", "stop cache"]);
    all_run(&trial);
    trial.containers.refuse("run app", Code::DumpFailed);
    let head = trial.run(&spec(&trial, &[])).await;
    assert_eq!(code(&head), Some(Code::VolumeUnfit), "what has to be done before was not done");
    all_run(&trial);
}

#[tokio::test]
async fn what_must_not_be_stopped_or_kept_is_refused() {
    let refused = async |containers: ScriptedContainers, wish: &str| {
        let trial = Trial { containers, ..trial() };
        let head = trial.run(&spec(&trial, &[wish])).await;
        assert_eq!((head.outcome, code(&head)), (Outcome::Failed, Some(Code::VolumeUnfit)));
        assert_eq!(trial.containers.calls(), [""; 0]);
        head.error.expect("it has failed").message
    };
    let db = || {
        ScriptedContainers::default().with("db", &["data"]).changed(|db| db.spared = Some(Spared::Database))
    };
    let of_data = |hot: &'static str| {
        let data = db().changed(|db| db.mounts[0].is_data = true);
        refused(data, hot)
    };
    for wish in ["data", "data:hot"] {
        assert!(of_data(wish).await.contains("its databases are dumped"));
    }
    assert!(refused(db(), "data").await.ends_with("which is never stopped: write data:hot"));
    assert_eq!(refused(db(), "gone").await, "there is no volume gone");
    assert_eq!(refused(db(), "/opt/gone").await, "no container of the stack has /opt/gone mounted");
    let bind = db().changed(|db| {
        db.mounts = vec![Mounted {
            at: "/data".to_owned(),
            place: Place::Host("/opt/s/volumes/db/data".to_owned()),
            is_data: true,
        }];
    });
    assert!(refused(bind, "/opt/s/volumes:hot").await.contains("its databases are dumped"), "it is in it");
}

/// Whatever goes wrong while they are stopped: they run in the end.
#[tokio::test]
async fn whoever_was_stopped_is_started_however_the_run_ends() {
    let broken = |path: &str| trial_with(folder().missing(path, "it cannot be read"));
    let head = broken("x").run(&spec(&trial(), &["uploads"])).await;
    assert!(head.warnings[0].starts_with("uploads: x: "), "{:?}", head.warnings);

    let refusing = trial();
    refusing.containers.refuse("stop app", Code::DockerUnreachable);
    let head = refusing.run(&spec(&refusing, &["uploads"])).await;
    assert_eq!(code(&head), Some(Code::DockerUnreachable));
    all_run(&refusing);

    for (operation, nth) in [(Operation::SetStopped, 1), (Operation::Create, 5), (Operation::Sync, 5)] {
        let trial = trial().failing(operation, nth, Fault::Code(Code::RepositoryFull));
        let head = trial.run(&spec(&trial, &["uploads"])).await;
        assert_eq!(head.outcome, Outcome::Failed, "{operation:?}: {:?}", head.error);
        all_run(&trial);
    }

    let cancelled = trial();
    cancelled.containers.cancel_at("stop app", &cancelled.cancel);
    let head = cancelled.run(&spec(&cancelled, &["uploads"])).await;
    assert_eq!(code(&head), Some(Code::Cancelled));
    all_run(&cancelled);
}

fn trial_with(folder: ScriptedFolder) -> Trial {
    Trial { porters: ScriptedPorters::default().with_volume("uploads", folder), ..trial() }
}

#[tokio::test]
async fn one_that_cannot_be_started_is_tried_again_by_whoever_comes_next() {
    let trial = trial();
    trial.containers.refuse("start app", Code::DockerUnreachable);
    let head = trial.run(&spec(&trial, &["uploads"])).await;
    assert!(head.is_good(), "the files are right: {:?}", head.error);
    assert!(head.warnings[0].contains("cannot start app"), "{:?}", head.warnings);
    assert_eq!(trial.recorder.faults(), [Code::DockerUnreachable]);
    let stopped = trial.memory.stopped().expect("it can be asked").expect("it is written down");
    assert_eq!(stopped.containers[0].name, "app");
    trial.containers.mend();
    trial.backup().await;
    all_run(&trial);
}

#[tokio::test]
async fn what_a_dead_run_had_stopped_is_started_before_anything_else() {
    let trial = trial();
    let of = |name: &str| StoppedService { id: format!("{name}-id"), name: name.to_owned() };
    let stopped = StoppedContainers {
        format: STOPPED_FORMAT,
        reason: "backup_1".to_owned(),
        containers: vec![of("app")],
    };
    trial.memory.set_stopped(Some(&stopped)).expect("memory");
    let ports = trial.ports();
    settle(&*ports.repository, &*ports.containers, &*ports.observer).await;
    assert_eq!(trial.containers.calls(), ["start app"]);
    trial.memory.set_stopped(Some(&stopped)).expect("memory");
    trial.containers.refuse("start app", Code::StackNotFound);
    let lock = trial.memory.lock().expect("nobody has it");
    backup(&trial.spec(), &ports, &*lock, &trial.cancel).await.expect("it can begin");
    assert_eq!(trial.memory.stopped().expect("it can be asked"), None, "compose has made it anew");
}

#[tokio::test]
async fn a_restore_empties_a_volume_or_makes_it_anew() {
    for is_gone in [false, true] {
        let folder = folder();
        let trial = trial_with(folder.clone());
        let head = trial.run(&spec(&trial, &["uploads"])).await;
        let manifest = trial.manifest(&head);
        let before = folder.files();
        folder.clear();
        if is_gone {
            trial.containers.remove_volume("uploads");
        } else {
            folder.write("newer", "it was made since");
        }
        let ports = trial.ports();
        let planned = plan_volumes(&[], &manifest, &ports).await.expect("it can be restored");
        assert_eq!((planned[0].exists, planned[0].users.len()), (!is_gone, 1));
        let reports = restore_volumes(&manifest, &planned, &ports).await.expect("there is room");
        assert_eq!(folder.files(), before);
        assert_eq!(folder.attributes("a/b.txt").len(), 1);
        assert_eq!((reports[0].files, reports[0].bytes, reports[0].differences.len()), (2, 7, 0));
        let made = is_gone.then_some("make uploads");
        let calls = ["stop app"].into_iter().chain(made).chain(["start app"]).collect::<Vec<_>>();
        assert_eq!(trial.containers.calls()[2..], calls);
        all_run(&trial);
        let missing = plan_volumes(&["other".to_owned()], &manifest, &ports).await.map(drop);
        assert_eq!(missing.map_err(|failure| failure.code), Err(Code::VolumeUnfit));
    }
}

#[tokio::test]
async fn a_restore_that_fails_leaves_nobody_stopped() {
    let trial = trial();
    let head = trial.run(&spec(&trial, &["uploads"])).await;
    let manifest = trial.manifest(&head);
    let ports = trial.ports();
    let planned = plan_volumes(&[], &manifest, &ports).await.expect("it can be restored");
    trial.porters.refuse(supakeep_flow::ports::StackError::new(Code::DockerRefused, "no room"));
    let failed = restore_volumes(&manifest, &planned, &ports).await.map(drop);
    assert_eq!(failed.map_err(|failure| failure.code), Err(Code::DockerRefused));
    all_run(&trial);
}
