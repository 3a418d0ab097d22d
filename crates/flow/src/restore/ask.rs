//! Questions to a site that are answered with one JSON value.

use serde::de::DeserializeOwned;
use supakeep_model::code::Code;

use crate::failure::Failure;
use crate::ports::Site;

/// The longest part of an answer that an error shows.
const SHOWN: usize = 200;

/// What the server answers to `query`, which makes one JSON value.
pub(crate) async fn ask<T: DeserializeOwned>(
    site: &dyn Site,
    database: &str,
    query: &str,
) -> Result<T, Failure> {
    let answer = site.sql(database, query).await?;
    serde_json::from_str(answer.trim()).map_err(|error| {
        let shown: String = answer.trim().chars().take(SHOWN).collect();
        Failure::new(Code::DatabaseRefused, format!("psql's answer makes no sense ({error}): {shown}"))
    })
}
