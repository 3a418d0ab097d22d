use supakeep_flow::ports::Stack as _;

use super::*;
use crate::fake::{Answer, FakeDocker, hurry};

async fn code(fake: &FakeDocker) -> Code {
    match fake.stack().connect("run").await {
        Ok(_) => panic!("it answers"),
        Err(error) => error.code,
    }
}

#[tokio::test]
async fn an_engine_may_come_after_its_client() {
    let mut fake = FakeDocker::stopped();
    let docker = fake.docker();
    assert!(docker.version().await.is_err());
    assert_eq!(code(&fake).await, Code::DockerUnreachable);
    fake.listen();
    docker.version().await.expect("the same client finds it");
    fake.stack().connect("run").await.map(drop).expect("it answers");
}

#[tokio::test]
async fn an_engine_that_dies_is_found_again() {
    let mut fake = FakeDocker::start();
    let docker = fake.docker();
    docker.version().await.expect("it answers");
    fake.die();
    tokio::task::yield_now().await;
    // The socket's file is there, and nobody behind it.
    assert!(fake.socket().exists());
    assert!(docker.version().await.is_err());
    assert_eq!(code(&fake).await, Code::DockerUnreachable);
    std::fs::remove_file(fake.socket()).expect("it is there");
    fake.listen();
    docker.version().await.expect("the same client finds it");
}

#[tokio::test]
async fn the_error_names_what_was_tried() {
    let fake = FakeDocker::stopped();
    let error = fake.stack().connect("run").await.map(drop).expect_err("no socket");
    assert!(error.message.contains("listing containers"), "{error}");
    assert!(error.message.contains("No such file"), "{error}");
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_unreachable() {
    let fake = FakeDocker::start();
    fake.engine.on("GET ", Answer::Hang);
    assert_eq!(hurry(code(&fake)).await, Code::DockerUnreachable);
}

#[test]
fn only_what_can_be_an_engine_is_taken() {
    for host in ["unix:///run/docker.sock", "unix:///a b/ü.sock", "tcp://10.0.0.1:2375", "http://proxy:2375"]
    {
        connect(Some(host)).map(drop).unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    connect(None).map(drop).expect("the local socket");
    for host in ["ftp://x", "/var/run/docker.sock", "", "unix://", "ssh://root@host", "npipe:////./pipe/x"] {
        let error = connect(Some(host)).map(drop).expect_err(host);
        assert_eq!(error.code, Code::DockerUnreachable, "{host}");
        assert!(error.message.contains(&format!("{host:?}")), "{error}");
        assert!(error.message.contains("unix:///var/run/docker.sock"), "{error}");
    }
}
