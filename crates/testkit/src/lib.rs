//! Scripted ports, fault injection and the conformance suite; for tests alone.
