//! The time in which `postgres` is a superuser.

use std::time::Duration;

use crate::failure::Failure;
use crate::ports::{Elevation, Site};

/// Who owns event triggers on Supabase, which only superusers may.
pub(super) const OWNER: &str = "postgres";
/// How often the right is taken back: whoever watches inside the container may be doing the same.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Whether there is a `postgres` that is no superuser.
pub(super) async fn is_wanted(site: &dyn Site) -> Result<bool, Failure> {
    let query = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{OWNER}' AND NOT rolsuper");
    Ok(site.sql("template1", &query).await?.trim() == "1")
}

/// Makes `postgres` a superuser. It cannot log in meanwhile.
pub(super) async fn raise(site: &dyn Site) -> Result<Box<dyn Elevation>, Failure> {
    Ok(site.elevate(OWNER).await?)
}

/// Takes it back, by ourselves where whoever was to do it is gone: it lives in the server's container.
pub(super) async fn end(raised: Box<dyn Elevation>, site: &dyn Site) -> Result<(), Failure> {
    match raised.end().await {
        Ok(()) => Ok(()),
        Err(error) => {
            tracing::warn!(code = %error.code, "{error}; trying by another way");
            lower(site).await
        }
    }
}

/// The same right, taken back by ourselves.
pub(super) async fn lower(site: &dyn Site) -> Result<(), Failure> {
    let statement = format!(
        "SELECT format('ALTER ROLE %I NOSUPERUSER LOGIN', rolname) FROM pg_roles \
         WHERE rolname = '{OWNER}' AND rolname <> current_user \\gexec\n"
    );
    let mut tries = 1;
    loop {
        match site.sql("template1", &statement).await {
            Ok(_) => return Ok(()),
            Err(error) if tries == TRIES => {
                return Err(Failure::from(error).while_doing(format!("taking superuser from {OWNER}")));
            }
            Err(_) => tries += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
