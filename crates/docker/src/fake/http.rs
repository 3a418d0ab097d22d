//! As much of HTTP/1.1 as the client speaks.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::engine::{Answer, Engine};
use super::program::perform;

const UPGRADED: &[u8] = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

/// Answers the one request of a connection.
pub(super) async fn serve(mut connection: UnixStream, engine: Arc<Engine>) {
    let Some((request, body)) = read(&mut connection).await else { return };
    match engine.answer(&request, &body) {
        Answer::Json(status, body) => {
            let head = format!(
                "HTTP/1.1 {status} Something\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = connection.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
        }
        Answer::Bytes(bytes) => {
            let _ = connection.write_all(&bytes).await;
        }
        Answer::Hang => std::future::pending().await,
        Answer::Exec(exec) => {
            if connection.write_all(UPGRADED).await.is_ok() {
                perform(connection, exec).await;
            }
        }
    }
}

/// `GET /path?query` and the body.
async fn read(connection: &mut UnixStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
    });
    let length: usize = length.unwrap_or(0);
    while bytes.len() < end + length {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let request = head.lines().next()?.rsplit_once(' ')?.0.to_owned();
    Some((request, bytes[end..].to_vec()))
}
