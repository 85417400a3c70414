//! The program: parses the arguments, builds the runtime, hands over to `cli`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use mailferry::cli::Cli;
use tokio::runtime::Builder;

/// How long the end waits for what cannot be stopped, such as a password that is being computed or a file that is being
/// read: what has to be finished was waited for before, and a disk or a name server that hangs must not hold the process.
const LEFT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = match Cli::of_process() {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let status = runtime.block_on(cli.run());
            runtime.shutdown_timeout(LEFT);
            status
        }
        Err(error) => {
            // Nobody is left to tell when standard error is gone too.
            _ = writeln!(std::io::stderr(), "mailferry: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
