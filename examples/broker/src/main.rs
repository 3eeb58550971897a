//! Keeps the names of one socket until it is ended.
//!
//! ```console
//! $ shared-region-broker /run/my-service/names
//! ```

use std::env;
use std::path::Path;
use std::process::ExitCode;

use shared_region_broker::Server;

fn main() -> ExitCode {
    let Some(address) = env::args_os().nth(1) else {
        eprintln!("usage: shared-region-broker PATH (or @NAME, without a file)");
        return ExitCode::from(2);
    };
    match Server::bind(&address) {
        Ok(server) => server.serve(),
        Err(error) => {
            eprintln!("shared-region-broker: cannot listen at {}: {error}", Path::new(&address).display());
            ExitCode::FAILURE
        }
    }
}
