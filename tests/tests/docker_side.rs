//! The way to the engine, on the real Engine: slow readers, other transports.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use supakeep_docker::{DockerStack, RootKey, StackSpec, connect};
use supakeep_flow::ports::{DumpKind, DumpRequest, Server, Stack as _};
use supakeep_model::dump::{Compression, DumpSpec};
use supakeep_tests::{Keeper, Pg, Stack};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::runtime::Runtime;

const SOCKET: &str = "/var/run/docker.sock";

fn spec(stack: &Stack) -> StackSpec {
    StackSpec {
        project: stack.project.clone(),
        service: "db".into(),
        container: None,
        user: "supabase_admin".into(),
        port: None,
        password: None,
        root_key: RootKey::None,
        wait: Duration::from_secs(10),
        stall: Duration::from_secs(60),
        lock_wait: Duration::from_secs(60),
    }
}

async fn server(stack: &Stack) -> Box<dyn Server> {
    let docker = connect(None).expect("the local socket");
    DockerStack::new(docker, spec(stack), "slow-reader").connect("test").await.expect("the server answers")
}

/// Reads the dump of `postgres`, with one pause after `pause_after` bytes. Returns its length.
async fn read_slowly(server: &dyn Server, pause_after: usize, pause: Duration) -> usize {
    let mut snapshot = server.snapshot("postgres").await.expect("a snapshot");
    let dump = DumpSpec::default();
    let request = DumpRequest { spec: &dump, kind: DumpKind::Content, source_compression: Compression::None };
    let mut stream = snapshot.dump(request).await.expect("the dump starts");
    let (mut length, mut paused) = (0, false);
    while let Some(bytes) = stream.next().await.expect("the stream goes on") {
        length += bytes.len();
        if length >= pause_after && !paused {
            paused = true;
            tokio::time::sleep(pause).await;
        }
    }
    stream.finish().await.expect("a good verdict");
    snapshot.close().await.expect("the snapshot ends");
    length
}

/// The engine drops the tail of a reader that stalls after the program has ended, and reports success.
/// With the end acknowledged in band, the program has not ended while there is something to read.
#[test]
fn a_reader_that_stalls_for_ten_seconds_still_gets_every_byte() {
    let runtime = Runtime::new().expect("a runtime");
    for pg in Pg::ALL {
        let stack = Stack::shared(pg);
        runtime.block_on(async {
            let server = server(&stack).await;
            let whole = read_slowly(&*server, 0, Duration::ZERO).await;
            assert!(whole > 5_000_000, "{whole}");
            // In the middle, and with less left than the engine and the kernel hold in their buffers.
            for pause_after in [whole / 2, whole - 100_000] {
                let slowly = read_slowly(&*server, pause_after, Duration::from_secs(10)).await;
                assert_eq!(slowly, whole, "paused after {pause_after}");
            }
        });
    }
}

/// Passes connections to a free port of this machine on to the engine's socket.
fn forward(runtime: &Runtime) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    runtime.spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut engine = UnixStream::connect(SOCKET).await.expect("the engine's socket");
                let _ = copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    });
    address
}

#[test]
fn works_over_tcp() {
    let runtime = Runtime::new().expect("a runtime");
    let address = forward(&runtime);
    let stack = Stack::shared(Pg::V17);
    let keeper = Keeper::new(&stack).with("DOCKER_HOST", &format!("tcp://{address}"));
    keeper.backup(&[]);
    keeper.run(&["check"]).ok();
}

/// Certificates as `dockerd --tlsverify` wants them: a CA, a server and a client.
struct Certificates {
    folder: tempfile::TempDir,
    server: Arc<tokio_rustls::rustls::ServerConfig>,
}

impl Certificates {
    fn make() -> Certificates {
        use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
        use tokio_rustls::rustls::server::WebPkiClientVerifier;
        use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

        let key = || KeyPair::generate().expect("a key");
        let mut ca_params = CertificateParams::new(vec![]).expect("no names are valid names");
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = key();
        let ca = ca_params.clone().self_signed(&ca_key).expect("a CA");
        let issuer = Issuer::new(ca_params, ca_key);
        let issue = |purpose: ExtendedKeyUsagePurpose| {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
            params.extended_key_usages = vec![purpose];
            let key = key();
            (params.signed_by(&key, &issuer).expect("a certificate"), key)
        };
        let (server_cert, server_key) = issue(ExtendedKeyUsagePurpose::ServerAuth);
        let (client_cert, client_key) = issue(ExtendedKeyUsagePurpose::ClientAuth);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("room for a file")
        };
        write("ca.pem", ca.pem());
        write("cert.pem", client_cert.pem());
        write("key.pem", client_key.serialize_pem());
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).expect("a CA");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .expect("a verifier");
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("default versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server_cert.der().clone()], server_key.into())
            .expect("a certificate and its key");
        Certificates { folder, server: Arc::new(server) }
    }
}

#[test]
fn works_over_tls_with_client_certificates() {
    let runtime = Runtime::new().expect("a runtime");
    let certificates = Certificates::make();
    let acceptor = tokio_rustls::TlsAcceptor::from(certificates.server.clone());
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    runtime.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut engine = UnixStream::connect(SOCKET).await.expect("the engine's socket");
                let _ = copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    });
    let stack = Stack::shared(Pg::V17);
    let certificate_path = certificates.folder.path().display().to_string();
    let keeper = Keeper::new(&stack)
        .with("DOCKER_HOST", &format!("tcp://localhost:{port}"))
        .with("DOCKER_TLS_VERIFY", "1")
        .with("DOCKER_CERT_PATH", &certificate_path);
    keeper.backup(&[]);
    // Without a certificate the engine is out of reach, and that is what is said.
    let keeper = keeper.with("DOCKER_CERT_PATH", "/nowhere").with("SUPAKEEP_STACK__WAIT", "1s");
    assert_eq!(keeper.refused(&["backup"]).1, "docker-unreachable");
}
