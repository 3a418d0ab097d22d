//! Containers that are values: they stop and start as they are told, or do not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use supakeep_flow::ports::{
    Container, Containers, Labels, Mounted, Place, Program, Service, SourceStream, StackError,
};
use supakeep_model::code::Code;
use supakeep_model::journal::StoppedService;
use tokio_util::sync::CancellationToken;

/// The containers around a scripted stack's database: none at first. Clones are the same.
#[derive(Clone, Default)]
pub struct ScriptedContainers {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    containers: Vec<Container>,
    volumes: Vec<String>,
    calls: Vec<String>,
    refused: Vec<(String, StackError)>,
    cancel: Option<(String, CancellationToken)>,
    answers: Vec<(String, Vec<String>)>,
    output: Vec<u8>,
}

/// What a program printed, in one piece.
struct Output(Option<Vec<u8>>);

#[async_trait]
impl SourceStream for Output {
    async fn next(&mut self) -> Result<Option<Bytes>, StackError> {
        Ok(self.0.take().map(Bytes::from))
    }

    async fn finish(self: Box<Self>) -> Result<String, StackError> {
        Ok(String::new())
    }
}

impl ScriptedContainers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, which runs and has these volumes mounted. They are there.
    #[must_use]
    pub fn with(self, name: &str, volumes: &[&str]) -> ScriptedContainers {
        let mounted = |name: &&str| Mounted {
            at: format!("/{name}"),
            place: Place::Volume((*name).to_owned()),
            is_data: false,
        };
        let container = Container {
            service: Service {
                id: format!("{name}-id"),
                name: name.to_owned(),
                is_running: true,
                depends_on: Vec::new(),
            },
            belongs: true,
            spared: None,
            mounts: volumes.iter().map(mounted).collect(),
            labels: Labels::default(),
        };
        let mut state = self.state();
        state.volumes.extend(volumes.iter().map(|name| (*name).to_owned()));
        state.containers.push(container);
        drop(state);
        self
    }

    /// The last one is changed.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn changed(self, change: impl FnOnce(&mut Container)) -> ScriptedContainers {
        change(self.state().containers.last_mut().expect("there is one"));
        self
    }

    /// A call is refused from now on: `stop app`, `start app`, `run app`.
    pub fn refuse(&self, call: &str, code: Code) {
        let error = StackError::new(code, format!("cannot {call}"));
        self.state().refused.push((call.to_owned(), error));
    }

    /// Nothing is refused any more.
    pub fn mend(&self) {
        self.state().refused.clear();
    }

    /// With a call, the run is cancelled.
    pub fn cancel_at(&self, call: &str, cancel: &CancellationToken) {
        self.state().cancel = Some((call.to_owned(), cancel.clone()));
    }

    /// What programs whose arguments have this in them print: one after the other, the last one for ever.
    #[must_use]
    pub fn saying(self, part: &str, answers: &[&str]) -> ScriptedContainers {
        let answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
        self.state().answers.push((part.to_owned(), answers));
        self
    }

    /// What programs that are read print.
    #[must_use]
    pub fn printing(self, output: Vec<u8>) -> ScriptedContainers {
        self.state().output = output;
        self
    }

    /// What was asked, in order.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Those that run.
    pub fn running(&self) -> Vec<String> {
        let state = self.state();
        let running = state.containers.iter().filter(|container| container.service.is_running);
        running.map(|container| container.service.name.clone()).collect()
    }

    /// A volume is gone.
    pub fn remove_volume(&self, name: &str) {
        self.state().volumes.retain(|known| known != name);
    }

    fn called(&self, call: String) -> Result<(), StackError> {
        let mut state = self.state();
        state.calls.push(call.clone());
        if let Some((_, cancel)) = state.cancel.as_ref().filter(|(at, _)| *at == call) {
            cancel.cancel();
        }
        let refused = state.refused.iter().find(|(refused, _)| *refused == call);
        refused.map_or(Ok(()), |(_, error)| Err(error.clone()))
    }

    fn set_running(&self, id: &str, is_running: bool) {
        let mut state = self.state();
        let found = state.containers.iter_mut().find(|container| container.service.id == id);
        found.expect("a container of these").service.is_running = is_running;
    }
}

#[async_trait]
impl Containers for ScriptedContainers {
    async fn containers(&self) -> Result<Vec<Container>, StackError> {
        Ok(self.state().containers.clone())
    }

    async fn find_volume(&self, name: &str) -> Result<Option<String>, StackError> {
        Ok(self.state().volumes.iter().find(|known| *known == name).cloned())
    }

    async fn make_volume(&self, name: &str) -> Result<(), StackError> {
        self.called(format!("make {name}"))?;
        self.state().volumes.push(name.to_owned());
        Ok(())
    }

    async fn stop(&self, container: &StoppedService) -> Result<(), StackError> {
        self.called(format!("stop {}", container.name))?;
        self.set_running(&container.id, false);
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn start(&self, container: &StoppedService) -> Result<(), StackError> {
        self.called(format!("start {}", container.name))?;
        self.set_running(&container.id, true);
        Ok(())
    }

    async fn run(&self, container: &StoppedService, program: Program<'_>) -> Result<String, StackError> {
        self.called(format!("run {}", container.name))?;
        let words = program.arguments.join(" ");
        let mut state = self.state();
        let answers = state.answers.iter_mut().find(|(part, _)| words.contains(part.as_str()));
        let Some((_, answers)) = answers else { return Ok(words) };
        // The last answer is given for ever.
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }

    async fn read(
        &self,
        container: &StoppedService,
        program: Program<'_>,
    ) -> Result<Box<dyn SourceStream>, StackError> {
        self.called(format!("read {} {}", container.name, program.arguments.join(" ")))?;
        let output = self.state().output.clone();
        Ok(Box::new(Output(Some(output).filter(|output| !output.is_empty()))))
    }
}
