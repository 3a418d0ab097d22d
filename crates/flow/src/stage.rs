//! Stages: bytes in, bytes out, and a result at the end. A stage is synchronous and knows nothing of
//! threads; the pipeline gives each its own.

pub mod decode;
pub mod digest;
pub mod encode;
