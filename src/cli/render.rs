//! `render`: the files, to stdout or below a directory.

use super::args::{self, Format, RenderArgs};
use super::{GOOD, node, out};
use crate::error::{Error, Errors};
use crate::host::System;
use crate::host::real::RealSystem;
use crate::plan::RenderedFile;
use crate::run;

pub fn run(a: &RenderArgs) -> Result<u8, Errors> {
    if a.show_templates {
        for (name, text) in crate::render::BUILT_IN {
            out::text(&format!("==> {name} <==\n{text}\n"));
        }
        return Ok(GOOD);
    }
    let sys = RealSystem::new(None);
    let model = args::offline_model(&sys, &a.source)?;
    let mut errors = Errors::default();
    model.failed.values().flat_map(|e| e.0.clone()).for_each(|e| errors.push(e));
    if !errors.is_empty() {
        return Err(errors);
    }
    // A node of its own that has nothing: nothing of this machine shows in what is rendered.
    let files = run::render(&node(&sys, true), &model, a.source.host.is_none() && model.clusters.len() > 1)?;
    match (&a.out, a.source.format) {
        (Some(dir), _) => write(dir, &files)?,
        (None, Format::Json) => out::json(&files),
        (None, Format::Table) => {
            for f in &files {
                out::text(&format!("==> {} <==\n{}\n", f.path.display(), f.content));
            }
        }
    }
    Ok(GOOD)
}

fn write(dir: &std::path::Path, files: &[RenderedFile]) -> Result<(), Error> {
    let sys = RealSystem::new(Some(dir.to_owned()));
    let fail = |path: &std::path::Path, e: std::io::Error| {
        Error::new(path.display().to_string(), format!("cannot be written: {e}"))
    };
    for f in files {
        if let Some(parent) = f.path.parent() {
            sys.create_dir(parent, 0o755).map_err(|e| fail(parent, e))?;
        }
        if sys.stat(&f.path).map_err(|e| fail(&f.path, e))?.is_some() {
            sys.remove_file(&f.path).map_err(|e| fail(&f.path, e))?;
        }
        // Below a directory of somebody's own, files are the caller's.
        let owner = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        sys.create(&f.path, f.content.as_bytes(), f.mode, owner).map_err(|e| fail(&f.path, e))?;
        out::line(&dir.join(f.path.strip_prefix("/").unwrap_or(&f.path)).display().to_string());
    }
    Ok(())
}
