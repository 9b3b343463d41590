//! `pgsvc check`: the health check of scripts and checkers that know exit codes only.

use std::ffi::OsString;

use clap::Args;

use super::{FAILED, GOOD, USAGE, out};
use crate::error::{Error, Errors};
use crate::host::real::RealSystem;
use crate::verify::check;

const HELP: &str = "\
A need is one of
  http://ADDR:PORT/PATH[#CODE]   an answer with this code, 200 where none is given; asked with
                                 OPTIONS, as HAProxy's checks ask
  https://ADDR:PORT/PATH[#CODE]  the same over TLS: with --ca verified, the name being ADDR
  tcp://ADDR:PORT                a port that takes connections
  unix:SOCKET:/PATH[#CODE]       an HTTP answer over a Unix socket
An IPv6 address stands in brackets.

  --unless NEED,NEED   not while all of these hold; may be given again
  --or                 begins another alternative: one of them has to hold
  --ca FILE            whom https trusts, PEM
  --cert FILE          as whom https asks: certificate and key in one PEM file
  --within MS          when all answers must be there, 900 by default; a late one does not hold

All probes run at once, and each need is asked once. What fails is said on stderr, in one line.

  pgsvc check unix:/run/haproxy/pgsvc-pg-test.sock:/
  pgsvc check http://10.0.0.11:8008/read-only tcp://10.0.0.11:6432 \\
      --unless http://10.0.0.12:8008/replica,tcp://10.0.0.12:6432

Exit codes: 0 it holds, 1 it does not, 64 usage.";

#[derive(Args)]
#[command(
    override_usage = "pgsvc check NEED… [--unless NEED,NEED]… [--or NEED…]… [--ca FILE] [--cert FILE] [--within MS]"
)]
#[command(after_help = HELP)]
pub struct CheckArgs {
    /// What must hold, and the options between
    #[arg(value_name = "NEED", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

pub fn run(a: &CheckArgs) -> Result<u8, Errors> {
    match question(&a.words) {
        Ok(question) => {
            let sys = RealSystem::new(None);
            Ok(match check::check(&sys, &question)? {
                None => GOOD,
                Some(why) => {
                    out::talk(&format!("pgsvc check: {why}"));
                    FAILED
                }
            })
        }
        Err(errors) => {
            out::errors(&errors);
            Ok(USAGE)
        }
    }
}

fn question(words: &[OsString]) -> Result<check::Question, Errors> {
    let text = |w: &OsString| {
        w.to_str().map(str::to_owned).ok_or_else(|| Error::new(w.display().to_string(), "is no UTF-8"))
    };
    let words: Vec<String> = words.iter().map(text).collect::<Result<_, _>>()?;
    check::parse(&words)
}
