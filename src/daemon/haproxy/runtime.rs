//! Commands on the admin socket, each looked at afterwards: HAProxy refuses some with a sentence and no more. Which are
//! given is decided by the planner.

use std::time::Duration;

use super::{Haproxy, POLL};
use crate::error::Error;
use crate::plan::{Command, LiveServer};

/// A check that is under way keeps a server from being deleted for a moment.
const DELETE: Duration = Duration::from_secs(1);

impl Haproxy<'_> {
    /// Gives the commands that do not hold yet, in order, and reads all of them back. The answer is why a reload has to
    /// do it after all: a server that is to go has sessions.
    pub(super) fn carry_out(&self, commands: &[Command]) -> Result<Option<String>, Error> {
        let before = self.live()?;
        for command in commands.iter().filter(|c| !c.holds(&before)) {
            if let Some(busy) = self.give(command)? {
                return Ok(Some(busy));
            }
        }
        let live = self.live()?;
        match commands.iter().find(|c| !c.holds(&live)) {
            None => Ok(None),
            Some(c) => Err(failed(c, "HAProxy took the command, but does not show its effect")),
        }
    }

    fn give(&self, command: &Command) -> Result<Option<String>, Error> {
        match command {
            Command::Weight { backend, server, to, .. } => {
                self.say(command, &format!("set server {backend}/{server} weight {to}"), &[])?;
            }
            Command::ServerMaxconn { backend, server, to, .. } => {
                self.say(command, &format!("set maxconn server {backend}/{server} {to}"), &[])?;
            }
            Command::Maxconn { listener, to, .. } => {
                self.say(command, &format!("set maxconn frontend {listener} {to}"), &[])?;
            }
            Command::Add { backend, server, address, options, weight, .. } => {
                // Enabled, a server is up until its first check, and so it is without weight until it is marked down:
                // without this, 2 of 100 additions under load misled a connection (0 of 100 with it). One line, so that
                // nothing is left halfway.
                let s = format!("{backend}/{server}");
                let line = format!(
                    "add server {s} {address} {options};set server {s} weight 0;enable health {s};enable server {s};\
                     set server {s} health down;set server {s} weight {weight}"
                );
                self.say(command, &line, &["New server registered."])?;
            }
            Command::Remove { backend, server, .. } => return self.remove(command, backend, server),
        }
        Ok(None)
    }

    /// Takes a server away that has no sessions. Maintenance would cut them (`on-marked-down shutdown-sessions`), so
    /// that a server is first left without weight, and looked at again.
    fn remove(&self, command: &Command, backend: &str, server: &str) -> Result<Option<String>, Error> {
        let s = format!("{backend}/{server}");
        let now = || Ok::<_, Error>(self.live()?.server(backend, server).cloned());
        let Some(before) = now()? else { return Ok(None) };
        self.say(command, &format!("set server {s} weight 0"), &[])?;
        let busy = |seen: Option<LiveServer>| seen.filter(|l| l.sessions > 0);
        if let Some(l) = busy(now()?) {
            self.say(command, &format!("set server {s} weight {}", before.weight), &[])?;
            return Ok(Some(format!("{server} leaves {backend} with sessions ({})", l.sessions)));
        }
        let start = self.sys.now();
        let line = format!("set server {s} state maint;del server {s}");
        loop {
            let refused = match self.say(command, &line, &["Server deleted."]) {
                Ok(()) => return Ok(None),
                Err(refused) => refused,
            };
            if self.sys.now().saturating_sub(start) > DELETE {
                // As before, and down until its checks pass: it was away for a moment.
                let state = match (before.maintenance, before.drain) {
                    (true, _) => "maint",
                    (_, true) => "drain",
                    _ => "ready",
                };
                let back = format!(
                    "set server {s} state {state};set server {s} health down;set server {s} weight {}",
                    before.weight
                );
                self.ask(&back)?;
                return Err(refused);
            }
            self.sys.sleep(POLL);
        }
    }

    /// Says a line; anything answered beside `expected` is a refusal.
    fn say(&self, command: &Command, line: &str, expected: &[&str]) -> Result<(), Error> {
        let answer = self.ask(line)?;
        let said: Vec<&str> = answer.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        if said == expected {
            return Ok(());
        }
        let other: Vec<&str> = said.into_iter().filter(|l| !expected.contains(l)).collect();
        let said = if other.is_empty() { "it does not say that it did".to_owned() } else { other.join("; ") };
        Err(failed(command, &format!("HAProxy refuses it: {said}")))
    }
}

fn failed(command: &Command, why: &str) -> Error {
    Error::new("haproxy's admin socket", format!("{command}: {why}"))
}

#[cfg(test)]
mod tests;
