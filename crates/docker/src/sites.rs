//! Finding the site of a restore, and making one for a drill.

use async_trait::async_trait;
use bollard::Docker;
use supakeep_flow::ports::{Scratch, ScratchSpec, Site, Sites, StackError};

use crate::scratch::{DockerScratch, sweep};
use crate::site::DockerSite;
use crate::stack::{DockerStack, StackSpec};

/// The stack's sites.
pub struct DockerSites {
    docker: Docker,
    spec: StackSpec,
    identity: String,
}

impl DockerSites {
    /// `identity` is the repository's, as for [`DockerStack::new`].
    pub fn new(docker: Docker, spec: StackSpec, identity: &str) -> DockerSites {
        DockerSites { docker, spec, identity: identity.to_owned() }
    }
}

#[async_trait]
impl Sites for DockerSites {
    async fn live(&self, run: &str) -> Result<Box<dyn Site>, StackError> {
        let stack = DockerStack::new(self.docker.clone(), self.spec.clone(), &self.identity);
        Ok(Box::new(DockerSite::open(stack, run).await?))
    }

    async fn scratch(&self, run: &str, spec: &ScratchSpec) -> Result<Box<dyn Scratch>, StackError> {
        Ok(Box::new(DockerScratch::make(&self.docker, &self.spec, &self.identity, run, spec).await?))
    }

    async fn sweep(&self) -> Result<(), StackError> {
        sweep(&self.docker, &self.identity).await
    }
}
