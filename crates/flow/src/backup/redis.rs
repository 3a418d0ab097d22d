//! Redis servers in a backup: each is asked to write its file, which is then read.

use supakeep_model::artifact::{Artifact, Part};
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::naming::redis_file;
use supakeep_model::parts::PartName;
use supakeep_model::volume::RedisRecord;

use super::draft::Draft;
use super::dump::Dumping;
use super::enter;
use crate::failure::Failure;
use crate::inspect::split::Whole;
use crate::pipeline::{self, FileReport, PipeSpec, Store};
use crate::ports::{Containers, Service, Staging};
use crate::redis::{Redis, RedisSpec};
use crate::stage::decode::Codec;
use crate::stopped::stoppable;
use crate::verify::inspector;

const COMPRESSION: Compression = Compression::Zstd(3);
/// How often a file is read anew that the server has replaced meanwhile.
const ATTEMPTS: usize = 5;

/// Finds the Redis servers that are to be kept. One that is named and does not run is a failure, and so is none.
pub async fn plan_redis(spec: &RedisSpec, containers: &dyn Containers) -> Result<Vec<Service>, Failure> {
    let all = containers.containers().await?;
    let of_stack = || all.iter().filter(|container| container.belongs);
    for name in &spec.services {
        if !of_stack().any(|container| container.service.name == *name) {
            return Err(Failure::new(Code::RedisFailed, format!("the stack has no service {name}")));
        }
    }
    let wanted = of_stack()
        .filter(|container| container.labels.redis || spec.services.contains(&container.service.name))
        .map(|container| container.service.clone());
    let wanted: Vec<_> = wanted.collect();
    if let Some(down) = wanted.iter().find(|service| !service.is_running) {
        return Err(Failure::new(Code::RedisFailed, format!("{} does not run", down.name)));
    }
    if wanted.is_empty() {
        let message = "no Redis server is named, neither in redis.services nor by a label supakeep.redis";
        return Err(Failure::new(Code::RedisFailed, message));
    }
    Ok(wanted)
}

impl Dumping<'_> {
    pub(super) async fn redis(
        &self,
        draft: &mut Draft,
        staging: &mut dyn Staging,
        services: &[Service],
    ) -> Result<(), Failure> {
        for service in services {
            enter(self.ports, &draft.head.id, Phase::Files, &service.name, None);
            let redis = Redis {
                containers: &*self.ports.containers,
                container: stoppable(service),
                spec: &self.spec.redis,
            };
            redis.save().await?;
            let path = redis.place().await?.path();
            let mut attempt = 1;
            let (file, checked) = loop {
                let saved = redis.last_save().await?;
                let file = self.read_rdb(draft, staging, &redis, &path).await?;
                let checked = redis.check(&path).await?;
                // What was read and what was looked at are the same file.
                if redis.last_save().await? == saved {
                    break (file, checked);
                }
                staging.files().remove(&file.path)?;
                attempt += 1;
                if attempt > ATTEMPTS {
                    return Err(redis.failed("it writes its file faster than it can be read"));
                }
            };
            draft.head.redis.push(RedisRecord {
                service: service.name.clone(),
                keys: checked.keys,
                expires: checked.expires,
                bytes: file.source.bytes,
            });
            draft.artifacts.push(Artifact {
                path: file.path,
                part: Part::Redis,
                database: None,
                of: Some(service.name.clone()),
                member: None,
                bytes: file.stored.bytes,
                sha256: file.stored.sha256,
                source_bytes: file.source.bytes,
                source_sha256: file.source.sha256,
                encoding: file.encoding,
            });
        }
        if !services.is_empty() {
            draft.head.parts.push(PartName::Redis);
        }
        Ok(())
    }

    async fn read_rdb(
        &self,
        draft: &Draft,
        staging: &mut dyn Staging,
        redis: &Redis<'_>,
        path: &str,
    ) -> Result<FileReport, Failure> {
        let stream = redis.read(path).await?;
        let inspect = inspector(Part::Redis, self.spec.dump.format, None);
        let file = redis_file(&redis.container.name, COMPRESSION);
        let split = Box::new(Whole { path: file.clone(), inspect });
        let (store, encoders) = (Store::Encode(COMPRESSION), self.spec.encoders);
        let spec = PipeSpec { codec: Codec::Identity, store, encoders, split };
        let (observer, id) = (self.ports.observer.clone(), draft.head.id.clone());
        let progress =
            move |source_bytes| observer.observe(&RunEvent::Progressed { id: id.clone(), source_bytes });
        let ran = pipeline::run(stream, staging.files(), spec, progress).await;
        let report = ran.map_err(|failure| failure.while_doing(&file))?;
        report.files.into_iter().next().ok_or_else(|| redis.failed("its file is no file"))
    }
}
