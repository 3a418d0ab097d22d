//! The repository in memory is one like the others, also behind a decorator that lets everything pass.

mod memory {
    supakeep_testkit::conformance_suite!((supakeep_testkit::MemoryRepository::default(), ()));
}

mod decorated {
    use supakeep_testkit::{FaultyRepository, MemoryRepository};

    supakeep_testkit::conformance_suite!((FaultyRepository::around(MemoryRepository::default()), ()));
}
