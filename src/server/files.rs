//! Open files: each connection is one, and a node that has no more of them can
//! neither accept nor read its keys.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::primitives::limits;

/// Makes room for `wanted` connections: raises this process's limit of open
/// files as far as the system lets it. How many there is room for.
#[must_use]
pub fn connections(wanted: usize) -> usize {
    let needed = (wanted as u64).saturating_add(limits::FILES_RESERVED);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let most = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
        let raised = Rlimit {
            current: Some(most),
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
    }
    let room = room(getrlimit(Resource::Nofile).current);
    if room < wanted {
        tracing::warn!(
            "room for {room} connections in place of {wanted}: the system allows no more open files; raise ulimit -n, or \
             set connections in config.toml"
        );
    }
    room.min(wanted)
}

/// Connections that fit under a limit of open files; a few always.
fn room(limit: Option<u64>) -> usize {
    let files = limit.unwrap_or(u64::MAX);
    let kept = limits::FILES_RESERVED.min(files / 2);
    usize::try_from(files - kept).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_for_the_store() {
        assert_eq!(room(Some(1_024)), 768);
        assert_eq!(room(Some(64)), 32);
        assert_eq!(connections(16), 16);
    }
}
