//! The program: parses the arguments, builds the runtime, hands over to `cli`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use mailferry::cli::Cli;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    // Bad usage ends here, with clap's explanation and status 2.
    let cli = Cli::parse();
    match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(error) => {
            // Nobody is left to tell when standard error is gone too.
            _ = writeln!(std::io::stderr(), "mailferry: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
