//! A porter that is this very process: it sees the folders itself.

use std::io::{self, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use supakeep_model::code::Code;
use tokio_util::io::SyncIoBridge;

use super::order::Task;
use super::stream::ThreadStream;
use super::work::work;
use crate::ports::{Fed, Folders, Porter, SourceStream, StackError, Stored};
use crate::redact::RedactionKey;

/// Works on folders of this machine, each task on a thread of its own.
pub struct NearPorter {
    folders: Arc<dyn Folders>,
    roots: Vec<PathBuf>,
}

impl NearPorter {
    /// For these folders.
    pub fn new(folders: Arc<dyn Folders>, roots: Vec<PathBuf>) -> NearPorter {
        NearPorter { folders, roots }
    }
}

#[async_trait]
impl Porter for NearPorter {
    async fn start(
        &self,
        at: usize,
        task: &Task,
        key: Option<&RedactionKey>,
        fed: Option<Fed>,
    ) -> Result<Box<dyn SourceStream>, StackError> {
        let (folders, root) = (Arc::clone(&self.folders), self.roots[at].clone());
        let (task, key) = (task.clone(), key.cloned());
        let stored: Stored = fed.map_or_else(|| Box::new(tokio::io::empty()) as Stored, |fed| fed.stored);
        // What is read here comes from tasks of this runtime.
        let mut input = BufReader::new(SyncIoBridge::new(stored));
        let stream = ThreadStream::start("porter", move |out| {
            work(&*folders, &root, &task, key.as_ref(), &mut input, out)
        });
        match stream {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(cannot_start(&error)),
        }
    }

    async fn close(self: Box<Self>) -> Result<(), StackError> {
        Ok(())
    }
}

fn cannot_start(error: &io::Error) -> StackError {
    StackError::new(Code::Internal, format!("cannot start a thread: {error}"))
}
