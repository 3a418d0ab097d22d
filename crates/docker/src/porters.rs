//! Finding a stack's files, and sending porters to them.

use async_trait::async_trait;
use bollard::Docker;
use supakeep_flow::ports::{Access, Layout, Place, Porter, Porters, StackError};
use supakeep_model::code::Code;

use crate::discover::discover;
use crate::error::call;
use crate::layout::layout;
use crate::porter::{DockerPorter, LABEL};
use crate::remains;
use crate::stack::StackSpec;

/// Porters in containers of the stack's engine.
pub struct DockerPorters {
    docker: Docker,
    spec: StackSpec,
    identity: String,
}

impl DockerPorters {
    /// `identity` is the repository's, as for [`crate::DockerStack::new`].
    pub fn new(docker: Docker, spec: StackSpec, identity: &str) -> DockerPorters {
        DockerPorters { docker, spec, identity: identity.to_owned() }
    }
}

#[async_trait]
impl Porters for DockerPorters {
    async fn layout(&self) -> Result<Layout, StackError> {
        layout(&self.docker, &self.spec).await
    }

    async fn open(&self, places: &[Place], access: Access) -> Result<Box<dyn Porter>, StackError> {
        let db = discover(&self.docker, &self.spec.target()).await?;
        let db =
            call("looking at the database's container", self.docker.inspect_container(&db, None)).await?;
        let image = db.image.filter(|image| !image.is_empty());
        let image = image
            .ok_or_else(|| StackError::new(Code::DockerRefused, "the engine does not tell the image's id"))?;
        Ok(Box::new(DockerPorter::make(&self.docker, image, &self.identity, places, access).await?))
    }

    async fn sweep(&self) -> Result<(), StackError> {
        remains::sweep_containers(&self.docker, LABEL, &self.identity).await
    }
}
