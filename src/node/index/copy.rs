//! The rows that count, for a compaction.

use super::filter::Filter;
use super::key::Mixed;
use super::manifest::{Manifest, RunEntry};
use super::row::{DataRow, damaged, data_key};
use crate::store::{Engine, StoreError};

/// Gives `put` every row of the runs that the manifest names, after checking
/// that it is what was written and that none is missing. The manifest itself is
/// left to the caller, as are left-overs of earlier runs.
///
/// # Errors
/// [`StoreError::Damaged`] at the first row that is missing or damaged; what
/// `put` gives.
pub fn copy(
    engine: &dyn Engine,
    put: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for run in Manifest::read(engine)?.runs {
        copy_run(engine, run, put).map_err(|error| match error {
            StoreError::Damaged(why) => StoreError::Damaged(format!(
                "{why}; start the node once, so that it makes the index anew from the log"
            )),
            other => other,
        })?;
    }
    Ok(())
}

fn copy_run(
    engine: &dyn Engine,
    run: RunEntry,
    put: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (mut count, mut next) = (0, Some(Mixed::MIN));
    while let Some(low) = next {
        let key = data_key(run.id, low);
        let value = engine.get(&key)?.ok_or_else(|| damaged(&key, "it is missing"))?;
        let row = DataRow::parse(&key, value.clone())?;
        count += row.len() as u64;
        next = row.high.after();
        put(key, value)?;
    }
    if count != run.count {
        return Err(damaged(&data_key(run.id, Mixed::MIN), "its run lacks keys"));
    }
    let filter = Filter::read(engine, run.id, run.blocks)?;
    for chunk in 0.. {
        let Some((key, value)) = filter.row(run.id, chunk) else {
            break;
        };
        put(key, value)?;
    }
    Ok(())
}
