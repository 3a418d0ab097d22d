//! What a person should know of an archive, without filling the manifest's head.

/// As many are told one by one.
const MOST: usize = 10;

/// Sentences about single files, of which there may be very many.
#[derive(Default)]
pub(super) struct Notes {
    told: Vec<String>,
    more: usize,
}

impl Notes {
    pub(super) fn add(&mut self, path: &[u8], what: &str) {
        if self.told.len() == MOST {
            self.more += 1;
            return;
        }
        let path = String::from_utf8_lossy(path);
        self.told.push(format!("{}: {what}", path.escape_debug()));
    }

    pub(super) fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.told.push(format!("and {} more like these", self.more));
        }
        self.told
    }
}
