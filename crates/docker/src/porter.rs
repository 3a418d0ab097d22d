//! A porter in a container: supakeep itself, beside the folders that it is to read or to fill.
//!
//! The container is of the database's image, which is there; it has no network, no rights but those to read or
//! to write files whoever they belong to, and ends by itself if nobody ends it. Docker's own way to copy files out
//! of a container would lose extended attributes.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, StartContainerOptions, UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use supakeep_flow::folder::order::{Job, Task};
use supakeep_flow::ports::{Access, Fed, Place, Porter, SourceStream, StackError};
use supakeep_flow::redact::RedactionKey;
use supakeep_model::code::Code;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::io::ReaderStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{call, call_within};
use crate::exec::{Command, ExecStream, Input, nonce};
use crate::feed::{begin, write};
use crate::own_program::OwnProgram;
use crate::remains;
use crate::tar::Tar;

/// The label of porters; its value is the repository's identity.
pub(crate) const LABEL: &str = "org.supakeep.porter";
/// Where places are mounted, each under its number.
const ROOTS: &str = "/places";
/// It ends by itself after this long, in seconds, whatever became of us.
const LONGEST_LIFE: &str = "172800";
/// How long one that packs may be silent: it reads large files before it says a word of them.
const STALL: Duration = Duration::from_secs(3600);
/// One that unpacks or only looks says nothing before it is done. The run's own deadline ends it.
const NO_STALL: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long bringing the program into it may take.
const BRINGING: Duration = Duration::from_secs(120);
/// Rights to read what is not ours; and to write it, and give it away.
const RIGHTS_TO_READ: [&str; 1] = ["DAC_READ_SEARCH"];
const RIGHTS_TO_WRITE: [&str; 4] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"];

/// A porter's container.
pub(crate) struct DockerPorter {
    docker: Docker,
    id: String,
    program: OwnProgram,
    is_closed: bool,
}

impl DockerPorter {
    /// Makes one of `image`, which is there, with these places.
    pub(crate) async fn make(
        docker: &Docker,
        image: String,
        identity: &str,
        places: &[Place],
        access: Access,
    ) -> Result<DockerPorter, StackError> {
        let program = OwnProgram::find()?;
        let name = format!("supakeep-porter-{identity}-{}", &nonce()?[..8]);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let body = body(image, identity, places, access)?;
        let created = call("making a container for files", docker.create_container(Some(options), body));
        let id = created.await.map_err(of_files)?.id;
        // From here on it is removed when this is dropped.
        let porter = DockerPorter { docker: docker.clone(), id, program, is_closed: false };
        let files = Tar::of_programs(porter.program.files()?)?;
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let upload = bollard::body_try_stream(ReaderStream::new(files));
        let uploading = docker.upload_to_container(&porter.id, Some(options), upload);
        call_within(BRINGING, "bringing supakeep into a container", uploading).await?;
        let starting = docker.start_container(&porter.id, None::<StartContainerOptions>);
        call("starting a container for files", starting).await.map_err(of_files)?;
        Ok(porter)
    }
}

/// A folder that the engine cannot mount is a matter of files.
fn of_files(error: StackError) -> StackError {
    let is_mount = error.message.contains("mount") || error.message.contains("bind source");
    if is_mount { StackError::new(Code::FilesMissing, error.message) } else { error }
}

fn body(
    image: String,
    identity: &str,
    places: &[Place],
    access: Access,
) -> Result<ContainerCreateBody, StackError> {
    let rights = match access {
        Access::Read => &RIGHTS_TO_READ[..],
        Access::Write => &RIGHTS_TO_WRITE[..],
    };
    let places: Vec<_> = places.iter().enumerate().collect();
    // Binds make a folder of the host that is not there, mounts refuse it.
    let binds = places.iter().filter_map(|(at, place)| bind(*at, place, access).transpose());
    let host_config = HostConfig {
        network_mode: Some("none".to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(rights.iter().map(|right| (*right).to_owned()).collect()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        binds: Some(binds.collect::<Result<_, _>>()?),
        mounts: Some(places.iter().filter_map(|(at, place)| mount(*at, place, access)).collect()),
        ..HostConfig::default()
    };
    Ok(ContainerCreateBody {
        image: Some(image),
        user: Some("0:0".to_owned()),
        entrypoint: Some(vec!["sleep".to_owned()]),
        cmd: Some(vec![LONGEST_LIFE.to_owned()]),
        working_dir: Some("/".to_owned()),
        stop_signal: Some("SIGKILL".to_owned()),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        labels: Some(HashMap::from([(LABEL.to_owned(), identity.to_owned())])),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    })
}

fn root(at: usize) -> String {
    format!("{ROOTS}/{at}")
}

fn bind(at: usize, place: &Place, access: Access) -> Result<Option<String>, StackError> {
    match (place, access) {
        (Place::Host(path), Access::Write) if path.contains(':') => Err(StackError::new(
            Code::FilesMissing,
            format!("{path} cannot be mounted: Docker takes no path with a colon in it"),
        )),
        (Place::Host(path), Access::Write) => Ok(Some(format!("{path}:{}:rw", root(at)))),
        _ => Ok(None),
    }
}

fn mount(at: usize, place: &Place, access: Access) -> Option<Mount> {
    let (typ, source) = match (place, access) {
        (Place::Volume(name), _) => (MountType::VOLUME, name.clone()),
        (Place::Host(path), Access::Read) => (MountType::BIND, path.clone()),
        _ => return None,
    };
    Some(Mount {
        target: Some(root(at)),
        source: Some(source),
        typ: Some(typ),
        read_only: Some(access == Access::Read),
        ..Mount::default()
    })
}

/// Whether the bytes of an archive come as the task goes on.
fn packs(task: &Task) -> bool {
    matches!(task, Task::Pack(order) if !order.only_index)
}

#[async_trait]
impl Porter for DockerPorter {
    async fn start(
        &self,
        at: usize,
        task: &Task,
        key: Option<&RedactionKey>,
        fed: Option<Fed>,
    ) -> Result<Box<dyn SourceStream>, StackError> {
        let command = Command {
            arguments: self.program.command(&["porter"]),
            user: Some("0:0".to_owned()),
            stall: if packs(task) { STALL } else { NO_STALL },
            ..Command::default()
        };
        let line = Job::line(root(at).as_ref(), task, key);
        let length = line.len() as u64;
        let (rest, bytes): (Box<dyn AsyncRead + Send + Unpin>, _) = match fed {
            Some(fed) => (fed.stored, fed.bytes.map(|bytes| bytes + length)),
            None => (Box::new(tokio::io::empty()), Some(length)),
        };
        let (stream, input) = begin(&self.docker, &self.id, command, bytes).await?;
        Ok(Box::new(PorterStream::new(stream, input, std::io::Cursor::new(line).chain(rest), bytes)))
    }

    async fn close(mut self: Box<Self>) -> Result<(), StackError> {
        self.is_closed = true;
        remains::remove(&self.docker, &self.id).await
    }
}

impl Drop for DockerPorter {
    fn drop(&mut self) {
        if self.is_closed {
            return;
        }
        let (docker, id) = (self.docker.clone(), std::mem::take(&mut self.id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = remains::remove(&docker, &id).await {
                    tracing::warn!(code = %error.code, "a container for files stays until the next run: {error}");
                }
            });
        }
    }
}

/// What a porter answers while it is fed.
struct PorterStream {
    stream: ExecStream,
    /// Until it has ended.
    feeding: Option<Feeding>,
    /// Ends the feeding when the porter has ended, or when nobody wants to know any more.
    enough: DropGuard,
}

/// The task that feeds it. It gives the input back, which is closed at the very end.
type Feeding = JoinHandle<(Input, Result<(), StackError>)>;

impl PorterStream {
    fn new(
        stream: ExecStream,
        mut input: Input,
        mut fed: impl AsyncRead + Send + Unpin + 'static,
        bytes: Option<u64>,
    ) -> PorterStream {
        let enough = CancellationToken::new();
        let until = enough.clone();
        let feeding = tokio::spawn(async move {
            let feeding = write(&mut input, &mut fed, bytes, &|_| {});
            let fed = until.run_until_cancelled(feeding).await.unwrap_or(Ok(()));
            (input, fed)
        });
        PorterStream { stream, feeding: Some(feeding), enough: enough.drop_guard() }
    }

    /// Takes the end of the feeding. What is wrong with what it was fed says more than what the porter makes of
    /// it, which may wait for the rest for ever.
    fn fed(&mut self, ended: Result<(Input, Result<(), StackError>), JoinError>) -> Result<(), StackError> {
        self.feeding = None;
        let died =
            |error| StackError::new(Code::Internal, format!("the task that feeds a porter died: {error}"));
        let (input, fed) = ended.map_err(died)?;
        self.stream.return_input(input);
        fed
    }
}

#[async_trait]
impl SourceStream for PorterStream {
    async fn next(&mut self) -> Result<Option<Bytes>, StackError> {
        loop {
            let Some(feeding) = &mut self.feeding else { return self.stream.next().await };
            tokio::select! {
                next = self.stream.next() => return next,
                ended = feeding => self.fed(ended)?,
            }
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<String, StackError> {
        self.enough = CancellationToken::new().drop_guard();
        if let Some(feeding) = &mut self.feeding {
            let ended = feeding.await;
            self.fed(ended)?;
        }
        Box::new(self.stream).finish().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_porter_has_no_more_rights_than_its_work_takes() {
        let places = [Place::Host("/opt/s".to_owned()), Place::Volume("s_storage".to_owned())];
        let host = |access| {
            let body = body("sha256:1".to_owned(), "id", &places, access).expect("both can be mounted");
            body.host_config.expect("it has one")
        };
        let read = host(Access::Read);
        assert_eq!(read.cap_add, Some(vec!["DAC_READ_SEARCH".to_owned()]));
        assert_eq!(read.network_mode.as_deref(), Some("none"));
        let mounts = read.mounts.expect("it has some");
        assert!(mounts.len() == 2 && mounts.iter().all(|mount| mount.read_only == Some(true)));
        assert_eq!(read.binds, Some(vec![]));
        let write = host(Access::Write);
        assert_eq!(write.binds, Some(vec!["/opt/s:/places/0:rw".to_owned()]));
        assert_eq!(write.mounts.expect("it has one").len(), 1);
        let odd = [Place::Host("/opt/a:b".to_owned())];
        assert!(body("sha256:1".to_owned(), "id", &odd, Access::Write).is_err());
        assert!(body("sha256:1".to_owned(), "id", &odd, Access::Read).is_ok());
    }
}
