//! Reading what a porter answers.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio_util::io::StreamReader;

use super::frames::{Frames, Kind, OnContent};
use super::order::{Look, Looked, Task};
use crate::ports::{Porter, SourceStream, StackError, Stored};

/// Reads a stream of frames to its end. Archive, index and notes go to `each`, as they come.
pub async fn answer<T: for<'de> Deserialize<'de>>(
    mut stream: Box<dyn SourceStream>,
    each: OnContent<'_>,
) -> Result<T, StackError> {
    let mut frames = Frames::default();
    while let Some(bytes) = stream.next().await? {
        frames.push(&bytes, each)?;
    }
    stream.finish().await?;
    frames.finish()
}

/// The index out of a porter's stream, as it is read.
pub(crate) fn index_of(stream: Box<dyn SourceStream>) -> Stored {
    let reading = Some((stream, Frames::default()));
    let pull = |reading: Option<(Box<dyn SourceStream>, Frames)>| async move {
        let (mut stream, mut frames) = reading?;
        let mut piece = Vec::new();
        let read = async {
            while piece.is_empty() {
                let Some(bytes) = stream.next().await? else { return Ok(false) };
                frames.push(&bytes, &mut |kind, content| {
                    piece.extend_from_slice(if kind == Kind::Index { content } else { &[] });
                    Ok(())
                })?;
            }
            Ok::<_, StackError>(true)
        };
        let read = match read.await {
            Ok(true) => return Some((Ok(Bytes::from(piece)), Some((stream, frames)))),
            Ok(false) => stream.finish().await.and_then(|_| frames.finish::<()>()),
            Err(error) => Err(error),
        };
        read.err().map(|error| (Err(io::Error::other(error.message)), None))
    };
    Box::new(StreamReader::new(Box::pin(stream::unfold(reading, pull))))
}

/// Looks whether something is at a place.
pub async fn look(porter: &dyn Porter, at: usize, path: &[u8]) -> Result<Looked, StackError> {
    let stream = porter.start(at, &Task::Look(Look { path: path.into() }), None, None).await?;
    answer(stream, &mut |_, _| Ok(())).await
}
