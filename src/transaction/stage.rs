//! The candidate tree, exactly as it would be installed, for the daemon's own check. Nothing outside the stage.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::journal::{Layout, failed};
use crate::error::Error;
use crate::host::System;
use crate::plan::Plan;

/// Writes the candidate; `/a/b` lies at `<stage>/a/b`. Answers the stage.
pub(super) fn fill(sys: &dyn System, layout: &Layout, plan: &Plan) -> Result<PathBuf, Error> {
    remove(sys, layout)?;
    let stage = layout.stage();
    let mut dirs = BTreeSet::new();
    for (path, bytes) in &plan.candidate {
        let target = stage.join(path.strip_prefix("/").unwrap_or(path));
        if let Some(dir) = target.parent()
            && dirs.insert(dir.to_owned())
        {
            sys.create_dir(dir, 0o700).map_err(|e| failed("make", dir, &e))?;
        }
        sys.create(&target, bytes, 0o600, sys.whoami()).map_err(|e| failed("write", &target, &e))?;
    }
    Ok(stage)
}

pub(super) fn remove(sys: &dyn System, layout: &Layout) -> Result<(), Error> {
    let stage = layout.stage();
    if sys.stat(&stage).map_err(|e| failed("look at", &stage, &e))?.is_none() {
        return Ok(());
    }
    sys.remove_dir_all(&stage).map_err(|e| failed("remove", &stage, &e))
}
