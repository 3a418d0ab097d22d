//! Finding the site of a restore, and making one for a drill.

use async_trait::async_trait;
use bollard::Docker;
use supakeep_flow::ports::{Scratch, ScratchSpec, Site, Sites, StackError};

use crate::remains;
use crate::scratch::{DockerScratch, LABEL};
use crate::services::host_of;
use crate::site::DockerSite;
use crate::stack::{DockerStack, StackSpec};

/// The stack's sites.
pub struct DockerSites {
    docker: Docker,
    spec: StackSpec,
    identity: String,
    engine_host: Option<String>,
}

impl DockerSites {
    /// `identity` is the repository's, as for [`DockerStack::new`]. `docker_host` is what the engine is named by,
    /// as for [`crate::connect`]: a container in between is never stopped.
    pub fn new(docker: Docker, spec: StackSpec, identity: &str, docker_host: Option<&str>) -> DockerSites {
        DockerSites {
            docker,
            spec,
            identity: identity.to_owned(),
            engine_host: docker_host.and_then(host_of),
        }
    }
}

#[async_trait]
impl Sites for DockerSites {
    async fn live(&self, run: &str) -> Result<Box<dyn Site>, StackError> {
        let stack = DockerStack::new(self.docker.clone(), self.spec.clone(), &self.identity);
        Ok(Box::new(DockerSite::open(stack, run, self.engine_host.clone()).await?))
    }

    async fn scratch(&self, run: &str, spec: &ScratchSpec) -> Result<Box<dyn Scratch>, StackError> {
        Ok(Box::new(DockerScratch::make(&self.docker, &self.spec, &self.identity, run, spec).await?))
    }

    async fn sweep(&self) -> Result<(), StackError> {
        remains::sweep(&self.docker, LABEL, &self.identity).await
    }
}
