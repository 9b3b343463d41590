//! `explain`: the matrix service × member and its reasons, connection strings, drawings, and where ports lead in a state.

use serde_json::{Map, Value};

use super::args::{self, ExplainArgs, ExplainFormat, Format, Source};
use super::{FAILED, GOOD, node, out};
use crate::error::{Error, Errors};
use crate::explain::{Drawing, connect, dot, matrix, mermaid, simulate, svg, why};
use crate::host::real::RealSystem;
use crate::render::haproxy;
use crate::report;
use crate::request::{self, Model, ResolvedCluster};
use crate::resolve::states::{self, WORDS};
use crate::resolve::{ResolvedService, RoleSource};
use crate::vip::duty::Groups;

pub fn run(a: &ExplainArgs) -> Result<u8, Errors> {
    if a.state.as_deref() == Some("help") {
        out::text(&words());
        return Ok(GOOD);
    }
    let sys = RealSystem::new(None);
    let request = args::offline_request(&sys, &source(a))?;
    let groups = request.groups.clone();
    let model = request::model_apart(request)?;
    let json = a.format == ExplainFormat::Json;
    if !json && a.format != ExplainFormat::Table {
        draw(a, &model)?;
    } else if let [service, member] = a.why.as_slice() {
        reasons(&sys, &model, service, member, json)?;
    } else if let Some(service) = &a.connect {
        connections(&model, service.as_deref(), &groups, json)?;
    } else if let Some(text) = &a.state {
        state(&model, text, json, a.verbose)?;
    } else if json {
        out::json(&each(&model, |c| report::cluster(c, &model.node.name, &model.options)));
    } else {
        model.clusters.iter().for_each(|(name, c)| out::text(&table(name, c, model.options.roles)));
    }
    model.warnings.iter().for_each(|w| out::talk(&format!("warning: {w}")));
    model.failed.values().for_each(out::errors);
    Ok(if model.failed.is_empty() { GOOD } else { FAILED })
}

fn source(a: &ExplainArgs) -> Source {
    Source {
        inventory: a.inventory.clone(),
        clusters: a.clusters.clone(),
        host: a.host.clone(),
        format: Format::Table,
        role_source: a.role_source.clone(),
        templates: a.templates.clone(),
        verbose: a.verbose,
    }
}

fn each(model: &Model, of: impl Fn(&ResolvedCluster) -> Value) -> Map<String, Value> {
    model.clusters.iter().map(|(name, c)| (name.clone(), of(c))).collect()
}

fn words() -> String {
    let row = |(_, example, what): &(&str, &str, &str)| vec![(*example).to_owned(), (*what).to_owned()];
    format!(
        "A state is a list with commas; members are a pg_seq or an instance, several with +.\n\
         Who is not named is a healthy replica; the inventory's primary leads where nobody else is said to.\n\n{}",
        out::table(&WORDS.iter().map(row).collect::<Vec<_>>())
    )
}

fn table(name: &str, c: &ResolvedCluster, roles: RoleSource) -> String {
    let whose = match roles {
        RoleSource::Patroni => "roles follow Patroni",
        RoleSource::Inventory => "roles are the inventory's, whatever Patroni says",
    };
    format!("{name} ({whose})\n{}\n", out::table(&matrix::rows(c)))
}

fn draw(a: &ExplainArgs, model: &Model) -> Result<(), Errors> {
    if !a.why.is_empty() || a.connect.is_some() || a.state.is_some() {
        let error = Error::new("--format", "a drawing shows the whole, and not --why, --connect or --state");
        return Err(error.hint("leave one of them out").into());
    }
    let drawing = Drawing::new(model.clusters.values().map(|c| &**c));
    out::text(&match a.format {
        ExplainFormat::Mermaid => mermaid::mermaid(&drawing),
        ExplainFormat::Dot => dot::dot(&drawing),
        _ => svg::svg(&drawing),
    });
    Ok(())
}

/// The one cluster that a question is about; `None` where that one is wrong itself, which is told below.
fn one(model: &Model) -> Result<Option<&ResolvedCluster>, Error> {
    let names: Vec<&str> = model.clusters.keys().chain(model.failed.keys()).map(String::as_str).collect();
    if names.len() > 1 {
        let all = names.join(", ");
        return Err(Error::new("-c", format!("this is asked of one cluster, and there are {all}"))
            .hint("name it: -c CLUSTER"));
    }
    Ok(model.clusters.values().next().map(|c| &**c))
}

fn reasons(sys: &RealSystem, model: &Model, service: &str, member: &str, json: bool) -> Result<(), Errors> {
    let Some(c) = one(model)? else { return Ok(()) };
    let node = node(sys, true);
    let (templates, layout) = (node.templates(model)?, crate::render::Layout::default());
    let rendered = |s: &ResolvedService| {
        let files = haproxy::services(&templates, &layout, std::slice::from_ref(s));
        let first =
            |e: Errors| e.0.into_iter().next().unwrap_or_else(|| Error::new("", "cannot be rendered"));
        Ok(files.map_err(first)?.into_iter().map(|f| f.content.to_string()).collect())
    };
    let found = why::why(c, service, member, model.options.roles, &rendered)?;
    if json {
        out::json(&found.json());
        return Ok(());
    }
    let row = |(name, text): &(&str, String)| vec![format!("  {name}"), text.clone()];
    out::line(&found.title);
    out::text(&out::table(&found.rows.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

fn connections(model: &Model, only: Option<&str>, groups: &Groups, json: bool) -> Result<(), Errors> {
    let database = model.options.database.as_deref().unwrap_or("postgres");
    let mut all = Map::new();
    for (name, c) in &model.clusters {
        let wanted = match only {
            Some(service) => std::slice::from_ref(why::find(c, service)?),
            None => c.services.as_slice(),
        };
        let mut services = Map::new();
        for s in wanted {
            if json {
                let ways: Vec<Value> = connect::ways(c, s, groups).iter().map(|w| w.json(database)).collect();
                services.insert(s.service.clone(), ways.into());
            } else {
                out::line(&connect::text(c, s, groups, database));
            }
        }
        all.insert(name.clone(), services.into());
    }
    if json {
        out::json(&all);
    }
    Ok(())
}

fn state(model: &Model, text: &str, json: bool, all: bool) -> Result<(), Errors> {
    let Some(c) = one(model)? else { return Ok(()) };
    let states = states::parse(text, &c.cluster)?;
    if json {
        out::json(&each(model, |c| simulate::json(c, text, &states)));
        return Ok(());
    }
    out::line(&out::table(&simulate::members(c, &states)));
    out::text(&out::table(&simulate::ports(c, &states)));
    let reasons = simulate::reasons(c, &states, all);
    if !reasons.is_empty() {
        out::line(&format!("\n{}", reasons.join("\n")));
    }
    Ok(())
}
